"""
The tests of the whole: C{twistd}, the docker CLI, OpenSSH's sshd and dockerd, on a remote host of their own.

They need root, Linux and Debian's packages (see L{tests.integration.prerequisites}). Run them with
C{python -m tests.integration.stack -- python -m twisted.trial tests.integration}.
"""
