"""
What is built from this tree, installed apart from it. Needs an index of packages.
"""
