# -*- test-case-name: tests.proxy.test_rewriters -*-
"""
Tests for L{remotedocker.proxy._rewriters}: what is done about each endpoint, in scripts of an exchange.
"""

from __future__ import annotations

import json
from typing import Any

from remotedocker.docker import (
    BindMount,
    ContainerPort,
    CreatePlan,
    MountForm,
    PlacedMount,
    PortBinding,
    ServicePlan,
    ServiceSpec,
    encode_labels,
)
from remotedocker.docker import CreateSpec as Spec
from remotedocker.errors import PortUnavailable, SourceMissing, SSHUnavailable
from remotedocker.http import Headers, RequestParser, ResponseParser
from remotedocker.proxy._asked import (
    Collect,
    CollectExec,
    Created,
    CreateFailed,
    ExecCreated,
    Inspect,
    PlanCreate,
    PlanService,
    PlanVolume,
    ServiceAnswered,
    Started,
    Starting,
)
from remotedocker.proxy._commands import (
    ClientBytes,
    ClientLost,
    CloseDaemon,
    Command,
    Connect,
    DaemonBytes,
    DaemonConnected,
    DaemonEnd,
    DaemonLost,
    DaemonRefused,
    Hold,
    Notify,
    Rejected,
    Report,
    Resolved,
    Rewritten,
    ToClient,
    ToDaemon,
)
from tests.proxy.support import ScriptCase, answer, chunked, error, lost, request

_DOWN = SSHUnavailable(destination="me@remote", state="connecting", reason="no route")
_MOUNT = BindMount("/home/me/src", "/src")
_PLAN = CreatePlan(
    placed=(PlacedMount(_MOUNT, "/mirrors/home/me/src", True, ("a warning",)),),
    labels={"io.remotedocker.agent": "agent"},
    warnings=("another warning",),
)


def _json_request(line: str, document: Any, headers: str = "") -> bytes:
    body = json.dumps(document).encode()
    return request(line, body, f"Host: docker\r\nContent-Type: application/json\r\n{headers}")


def _json_answer(status: str, document: Any) -> bytes:
    return answer(status, json.dumps(document).encode() + b"\n", "Content-Type: application/json\r\n")


def _parsed_request(data: bytes) -> tuple[Any, bytes]:
    parts = RequestParser().feed(data)
    return parts[0], b"".join(getattr(part, "payload", b"") for part in parts)


def _parsed_answer(data: bytes, to: bytes = b"GET / HTTP/1.1\r\n\r\n") -> tuple[Any, Any]:
    parser = ResponseParser()
    parser.expect(RequestParser().feed(to)[0])  # type: ignore[arg-type]
    parts = parser.feed(data)
    return parts[0], json.loads(b"".join(getattr(part, "payload", b"") for part in parts))


class _Case(ScriptCase):
    def sent(self, command: Command) -> tuple[Headers, Any]:
        """@return: headers and document of the one request that goes to the daemon."""
        assert isinstance(command, ToDaemon)
        head, body = _parsed_request(command.data)
        return head.headers, json.loads(body)

    def told(self, command: Command) -> tuple[Any, Any]:
        """@return: head and document of the one answer that goes to the client."""
        assert isinstance(command, ToClient)
        return _parsed_answer(command.data)


class CreateTests(_Case):
    """C{POST /containers/create}."""

    created = _json_answer("201 Created", {"Id": "c1", "Warnings": ["theirs"]})

    def planned(self, document: Any = None, headers: str = "", query: str = "?name=web") -> None:
        """A create was sent, and is being planned."""
        document = document or {"Image": "x", "Unknown": 1.50, "HostConfig": {"Binds": ["/home/me/src:/src"]}}
        data = _json_request(f"POST /v1.41/containers/create{query}", document, headers)
        spec = Spec(image="x", mounts=(_MOUNT,), binds=("/home/me/src:/src",))
        self.play(ClientBytes(data), Hold(1, PlanCreate(spec)))

    def forwarded_create(self) -> None:
        """It went to the daemon."""
        self.planned()
        self.play(Resolved(1, _PLAN), Connect(False))
        self.play_any(DaemonConnected())

    def test_rewritten(self) -> None:
        """The daemon gets the changed body with its length; what is not understood is kept."""
        self.planned()
        self.play(Resolved(1, _PLAN), Connect(False))
        (sent,) = self.play_any(DaemonConnected())
        headers, document = self.sent(sent)
        self.assertEqual(document["HostConfig"]["Binds"], ["/mirrors/home/me/src:/src"])
        self.assertEqual(document["Labels"], {"io.remotedocker.agent": "agent"})
        self.assertEqual(document["Unknown"], 1.5)
        self.assertEqual(headers.get(b"Content-Type"), b"application/json")
        self.assertIsInstance(self.recorded[-1], Rewritten)

    def test_chunked(self) -> None:
        """A body in chunks, in several segments, goes on with a length."""
        self.play(
            ClientBytes(
                b'POST /containers/create HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"Ima'
            )
        )
        (hold,) = self.play_any(ClientBytes(b'\r\n8\r\nge":"x"}\r\n0\r\n\r\n'))
        self.assertEqual(hold, Hold(1, PlanCreate(Spec(image="x"))))
        self.play(Resolved(1, CreatePlan()), Connect(False))
        (sent,) = self.play_any(DaemonConnected())
        headers, document = self.sent(sent)
        self.assertEqual((headers.get(b"Transfer-Encoding"), document), (None, {"Image": "x"}))

    def test_expectContinue(self) -> None:
        """We answer 100 Continue, for we read the body; the daemon is not asked for it again."""
        expect = "Host: d\r\nContent-Length: 13\r\nExpect: 100-continue\r\n"
        head = request("POST /containers/create", headers=expect)
        self.play(ClientBytes(head), ToClient(b"HTTP/1.1 100 Continue\r\n\r\n"))
        self.play_any(ClientBytes(b'{"Image":"x"}'))
        self.play(Resolved(1, CreatePlan()), Connect(False))
        (sent,) = self.play_any(DaemonConnected())
        self.assertIsNone(self.sent(sent)[0].get(b"Expect"))

    def test_created(self) -> None:
        """The id is told, and our warnings stand behind the daemon's."""
        self.forwarded_create()
        (told, notified) = self.play_any(DaemonBytes(self.created))
        head, document = self.told(told)
        self.assertEqual(head.status, 201)
        self.assertEqual(document, {"Id": "c1", "Warnings": ["theirs", "another warning", "a warning"]})
        self.assertEqual(notified, Notify(Created("c1", "web", _PLAN)))

    def test_answerInPieces(self) -> None:
        """An answer in chunks is put together before the client gets it."""
        self.forwarded_create()
        whole = chunked(b'{"Id":"c1",', b'"Warnings":[]}', head="201 Created")
        for byte in whole[:-1]:
            self.play(DaemonBytes(bytes([byte])))
        (told, _) = self.play_any(DaemonBytes(whole[-1:]))
        self.assertEqual(self.told(told)[1]["Warnings"], ["another warning", "a warning"])

    def test_refusedByDaemon(self) -> None:
        """The daemon's error passes with the laptop's paths, and the plan is given up."""
        self.containers.paths["/mirrors/home/me/src"] = "/home/me/src"
        self.forwarded_create()
        refused = _json_answer("400 Bad Request", {"message": "does not exist: /mirrors/home/me/src"})
        (told, notified) = self.play_any(DaemonBytes(refused))
        self.assertEqual(self.told(told)[1], {"message": "does not exist: /home/me/src"})
        self.assertEqual(notified, Notify(CreateFailed(_PLAN)))

    def test_imageMissingThenAgain(self) -> None:
        """A create that is sent again after a pull is planned again, and passes unchanged in its 404."""
        self.forwarded_create()
        missing = _json_answer("404 Not Found", {"message": "No such image: x:latest"})
        self.play(DaemonBytes(missing), ToClient(missing), Notify(CreateFailed(_PLAN)))
        data = _json_request("POST /v1.41/containers/create", {"Image": "x"})
        self.play(ClientBytes(data), Hold(2, PlanCreate(Spec(image="x"))))

    def test_planFails(self) -> None:
        """What cannot be planned is answered, and the daemon hears nothing of it."""
        self.planned()
        refusal = SourceMissing(source="/home/me/src")
        self.play(Rejected(1, refusal), ToClient(error("400 Bad Request", refusal.message)))

    def test_planHasABug(self) -> None:
        """A bug is reported and answered with 500."""
        self.planned()
        bug = ZeroDivisionError()
        (report, told) = self.play_any(Rejected(1, bug))
        self.assertEqual(report, Report(bug))
        self.assertEqual(self.told(told)[0].status, 500)

    def test_answerLost(self) -> None:
        """Without an answer of the daemon the plan is given up."""
        for event in (DaemonLost(_DOWN), DaemonEnd()):
            self.begin()
            self.forwarded_create()
            commands = self.play_any(event)
            self.assertIn(Notify(CreateFailed(_PLAN)), commands)
            self.assertIsInstance(commands[-1], ToClient)

    def test_clientLost(self) -> None:
        """A client that is gone before the answer gives the plan up."""
        self.forwarded_create()
        self.play(ClientLost(), CloseDaemon(), Notify(CreateFailed(_PLAN)))

    def test_clientLostWhilePlanning(self) -> None:
        """One that is gone while it is planned, too, once it is."""
        self.planned()
        self.play(ClientLost())
        self.play(Resolved(1, _PLAN), Notify(CreateFailed(_PLAN)))

    def test_clientLostAndPlanFails(self) -> None:
        """When the plan then fails, nothing is left to be done; a bug is reported all the same."""
        bug = ZeroDivisionError()
        for failure, expected in ((_DOWN, []), (bug, [Report(bug)])):
            self.begin()
            self.planned()
            self.play(ClientLost())
            self.play(Rejected(1, failure), *expected)

    def test_refusedConnection(self) -> None:
        """So does a daemon that cannot be reached."""
        self.planned()
        self.play(Resolved(1, _PLAN), Connect(False))
        self.play(
            DaemonRefused(_DOWN),
            Notify(CreateFailed(_PLAN)),
            ToClient(error("503 Service Unavailable", _DOWN.message)),
        )

    def test_noJSON(self) -> None:
        """A body that is none is refused here, in words."""
        (told,) = self.play_any(ClientBytes(request("POST /containers/create", b"{")))
        head, document = self.told(told)
        self.assertEqual(head.status, 400)
        self.assertIn("invalid JSON", document["message"])


class StartTests(_Case):
    """C{start} and C{restart}."""

    def starting(self, verb: str = "start") -> bytes:
        """A start was sent, and is being prepared."""
        data = request(f"POST /v1.41/containers/web/{verb}")
        self.play(ClientBytes(data), Hold(1, Starting("web")))
        return data

    def started(self, verb: str = "start") -> None:
        """It went to the daemon."""
        data = self.starting(verb)
        self.play(Resolved(1, "c1"), Connect(False))
        self.play(DaemonConnected(), ToDaemon(data))

    def test_held(self) -> None:
        """
        Nothing goes to the daemon before files and ports are ready, nothing back before ports lead somewhere.
        """
        for verb in ("start", "restart"):
            for status in ("204 No Content", "304 Not Modified"):
                self.begin()
                self.started(verb)
                reply = answer(status, length=False)
                self.play(DaemonBytes(reply), Hold(2, Started("c1", True)))
                self.play(Resolved(2), ToClient(reply))

    def test_notOurs(self) -> None:
        """A container that is not ours is started as it is."""
        self.starting()
        self.play(Resolved(1, None), Connect(False))
        self.play_any(DaemonConnected())
        reply = answer("204 No Content", length=False)
        self.play(DaemonBytes(reply), ToClient(reply))

    def test_preparingFails(self) -> None:
        """A port that is taken fails the start in the daemon's words; the container is not started."""
        self.starting()
        taken = PortUnavailable(name="web", container_id="c1", address="127.0.0.1:80")
        self.play(Rejected(1, taken), ToClient(error("500 Internal Server Error", taken.message)))

    def test_daemonFails(self) -> None:
        """The daemon's error waits until everything is closed again."""
        self.started()
        refused = _json_answer("500 Internal Server Error", {"message": "no"})
        self.play(DaemonBytes(refused), Hold(2, Started("c1", False)))
        self.play(Resolved(2), ToClient(refused))

    def test_portsFail(self) -> None:
        """When ports cannot be pointed after the start, the client is told that instead."""
        self.started()
        self.play(DaemonBytes(answer("204 No Content", length=False)), Hold(2, Started("c1", True)))
        self.play(Rejected(2, _DOWN), ToClient(error("503 Service Unavailable", _DOWN.message)))
        self.play(ClientBytes(request("GET /info")), ToDaemon(request("GET /info")))

    def test_portsHaveABug(self) -> None:
        """A bug there is reported."""
        self.started()
        self.play(DaemonBytes(answer("204 No Content", length=False)), Hold(2, Started("c1", True)))
        bug = ZeroDivisionError()
        (report, told) = self.play_any(Rejected(2, bug))
        self.assertEqual(report, Report(bug))
        self.assertEqual(self.told(told)[0].status, 500)

    def test_answerLost(self) -> None:
        """Without an answer what was opened is closed again."""
        self.started()
        message = lost("the connection ended before the answer did").message
        self.play(
            DaemonEnd(),
            CloseDaemon(),
            Notify(Started("c1", False)),
            ToClient(error("502 Bad Gateway", message)),
        )

    def test_clientLost(self) -> None:
        """So it is for a client that is gone before the answer, or before the start."""
        self.started()
        self.play(ClientLost(), CloseDaemon(), Notify(Started("c1", False)))
        self.begin()
        self.starting()
        self.play(ClientLost())
        self.play(Resolved(1, "c1"), Notify(Started("c1", False)))

    def test_clientLostWhileHeld(self) -> None:
        """The end is told once."""
        self.started()
        self.play(DaemonBytes(answer("204 No Content", length=False)), Hold(2, Started("c1", True)))
        self.play(ClientLost(), CloseDaemon())

    def test_body(self) -> None:
        """Old clients send a body with it, which goes on as it came."""
        data = request("POST /v1.20/containers/web/start", b"{}")
        self.play(ClientBytes(data), Hold(1, Starting("web")))
        self.play(Resolved(1, "c1"), Connect(False))
        self.play(DaemonConnected(), ToDaemon(data))

    def test_bodyExpected(self) -> None:
        """Also if it waits for 100 Continue, which we sent."""
        head = "Host: d\r\nExpect: 100-continue\r\n"
        self.play_any(ClientBytes(request("POST /containers/web/start", b"{}", head)))
        self.play(Resolved(1, None), Connect(False))
        self.play(DaemonConnected(), ToDaemon(request("POST /containers/web/start", b"{}", "Host: d\r\n")))


class EndTests(_Case):
    """What holds the news of an end back."""

    def test_stop(self) -> None:
        """The answer to a stop waits until what the container wrote is back."""
        self.forwarded(request("POST /v1.41/containers/web/stop?t=1"))
        reply = answer("204 No Content", length=False)
        self.play(DaemonBytes(reply), Hold(1, Collect("web")))
        self.play(Resolved(1), ToClient(reply))

    def test_otherEnds(self) -> None:
        """So do a kill, a removal, and a copy into it."""
        for line in ("POST /containers/web/kill", "DELETE /v1.41/containers/web?force=1"):
            self.begin()
            self.forwarded(request(line))
            reply = answer("204 No Content", length=False)
            self.play(DaemonBytes(reply), Hold(1, Collect("web")))
            self.play(Resolved(1), ToClient(reply))
        self.begin()
        self.forwarded(request("PUT /v1.41/containers/web/archive?path=/x", b"tar"), True)
        reply = answer("200 OK", b"")
        self.play(DaemonBytes(reply), Hold(1, Collect("web")))
        self.play(Resolved(1), ToClient(reply))

    def test_stopFails(self) -> None:
        """A stop that failed, or had nothing to do, does not."""
        self.forwarded(request("POST /v1.41/containers/web/stop"))
        reply = answer("304 Not Modified", length=False)
        self.play(DaemonBytes(reply), ToClient(reply))

    def test_wait(self) -> None:
        """The head of a wait passes at once, its body waits."""
        self.forwarded(request("POST /v1.41/containers/web/wait?condition=next-exit"))
        whole = chunked(b'{"StatusCode":0}\n')
        head = chunked(end=False)
        self.play(DaemonBytes(whole[:-5]), ToClient(head), Hold(1, Collect("web")))
        self.play(DaemonBytes(whole[-5:]))
        self.play(Resolved(1), ToClient(whole[len(head) :]))

    def test_waitFails(self) -> None:
        """An error passes."""
        self.forwarded(request("POST /v1.41/containers/web/wait"))
        missing = _json_answer("404 Not Found", {"message": "No such container: web"})
        self.play(DaemonBytes(missing), ToClient(missing))

    def test_execCreate(self) -> None:
        """The id of an exec is told; its answer passes as it is."""
        self.forwarded(request("POST /v1.41/containers/web/exec", b"{}"))
        made = _json_answer("201 Created", {"Id": "e1"})
        self.play(DaemonBytes(made), ToClient(made), Notify(ExecCreated("e1", "web")))

    def test_execCreateOddly(self) -> None:
        """An answer without an id, or that is no JSON, passes and tells nothing."""
        for body in (b"{", b"[]", b"{}", b'{"Id":1}'):
            self.begin()
            self.forwarded(request("POST /v1.41/containers/web/exec", b"{}"))
            self.play(DaemonBytes(answer("201 Created", body)), ToClient(answer("201 Created", body)))

    def test_execInspect(self) -> None:
        """The exit code of an exec waits for what it wrote."""
        self.forwarded(request("GET /v1.41/exec/e1/json"))
        reply = _json_answer("200 OK", {"ExitCode": 0})
        self.play(DaemonBytes(reply), Hold(1, CollectExec("e1")))
        self.play(Resolved(1), ToClient(reply))


class TranslationTests(_Case):
    """Answers that show paths and ports."""

    def labels(self) -> dict[str, str]:
        """@return: the labels of a container of ours with port 80 published at 8080."""
        port = ContainerPort(80)
        spec = Spec(image="x", ports={port: (PortBinding("", "8080"),)})
        self.containers.ports["c1"] = {port: (PortBinding("127.0.0.1", "8080"),)}
        return dict(encode_labels("agent", "nonce", spec, (port,)))

    def translated(self, target: str, document: Any) -> Any:
        """@return: what becomes of the daemon's answer to C{GET target}."""
        self.begin()
        self.forwarded(request(f"GET {target}"))
        (told,) = self.play_any(DaemonBytes(_json_answer("200 OK", document)))
        return self.told(told)[1]

    def test_inspect(self) -> None:
        """An inspect shows what is open here, and not our labels."""
        actual = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "49153"}]}
        document = {
            "Id": "c1",
            "Config": {"Labels": {"user": "label", **self.labels()}},
            "NetworkSettings": {"Ports": actual},
        }
        labels, ports = self.labels(), self.containers.ports
        self.begin()
        self.containers.ports.update(ports)
        self.assertTrue(labels)
        shown = self.translated("/v1.41/containers/web/json", document)
        self.assertEqual(shown["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"], "8080")
        self.assertEqual(shown["Config"]["Labels"], {"user": "label"})
        self.assertIsInstance(self.recorded[-2], Rewritten)

    def test_list(self) -> None:
        """So does a list, in which a filter by port is ours to apply."""
        ports = [{"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 49153, "Type": "tcp"}]
        listed = [
            {"Id": "c1", "Labels": self.labels(), "Ports": ports},
            {"Id": "c2", "Labels": {}, "Ports": []},
        ]
        self.play(
            ClientBytes(request('GET /v1.41/containers/json?filters={"publish":{"8080":true}}')),
            Connect(False),
        )
        (sent,) = self.play_any(DaemonConnected())
        assert isinstance(sent, ToDaemon)
        self.assertTrue(sent.data.startswith(b"GET /v1.41/containers/json HTTP/1.1\r\n"))
        (told,) = self.play_any(DaemonBytes(_json_answer("200 OK", listed)))
        (shown,) = self.told(told)[1]
        self.assertEqual((shown["Id"], shown["Ports"][0]["PublicPort"]), ("c1", 8080))

    def test_othersUntouched(self) -> None:
        """What is not ours passes byte for byte, in chunks as it came."""
        for target in (
            "/containers/json",
            "/containers/x/json",
            "/images/json",
            "/images/i/json",
            "/services",
            "/services/s",
            "/tasks",
            "/tasks/t",
            "/system/df",
            "/volumes",
            "/volumes/v",
        ):
            self.begin()
            self.forwarded(request(f"GET {target}"))
            whole = chunked(b'{"Id": ', b'"x" }\n')
            self.play(DaemonBytes(whole), ToClient(whole))

    def test_volume(self) -> None:
        """A volume that is a mirror is shown with the laptop's path."""
        volume = {
            "Name": "v",
            "Driver": "local",
            "Options": {"type": "none", "o": "bind", "device": "/mirrors/x"},
        }
        for target, document, shown in (
            ("/volumes/v", volume, lambda found: found),
            ("/volumes", {"Volumes": [volume]}, lambda found: found["Volumes"][0]),
            ("/system/df", {"Volumes": [volume]}, lambda found: found["Volumes"][0]),
        ):
            self.containers.paths["/mirrors/x"] = "/home/me/x"
            self.assertEqual(
                shown(self.translated(target, document))["Options"]["device"],
                "/home/me/x",
            )

    def test_error(self) -> None:
        """Errors of these endpoints name the laptop's paths; others pass."""
        self.containers.paths["/mirrors/x"] = "/home/me/x"
        self.forwarded(request("GET /volumes/v"))
        (told,) = self.play_any(
            DaemonBytes(_json_answer("500 Internal Server Error", {"message": "mount /mirrors/x: no"}))
        )
        self.assertEqual(self.told(told)[1], {"message": "mount /home/me/x: no"})

    def test_tooBig(self) -> None:
        """An answer over the limit passes as it came, as it comes."""
        self.begin(answer_limit=10)
        self.forwarded(request("GET /containers/json"))
        whole = chunked(b'["abcdefg', b'hijklmnop"]', b"\n")
        self.assertEqual(self.play_any(DaemonBytes(whole[:40])), [])
        (first,) = self.play_any(DaemonBytes(whole[40:-10]))
        (last,) = self.play_any(DaemonBytes(whole[-10:]))
        assert isinstance(first, ToClient) and isinstance(last, ToClient)
        self.assertEqual(first.data + last.data, whole)

    def test_bug(self) -> None:
        """A bug in a translation is an answer of ours."""
        self.containers.__dict__["owned"] = None
        self.forwarded(request("GET /containers/x/json"))
        document = {"Config": {"Labels": {**self.labels()}}}
        commands = self.play_any(DaemonBytes(_json_answer("200 OK", document)))
        self.assertIsInstance(commands[0], Report)
        told = next(command for command in commands if isinstance(command, ToClient))
        self.assertEqual(self.told(told)[0].status, 500)


class LabelTests(_Case):
    """Where the daemon shows our labels beside containers."""

    labels = encode_labels("agent", "nonce", Spec(image="x"), ())

    def test_events(self) -> None:
        """The stream of events passes without them, an event at a time, until its end."""
        self.forwarded(request("GET /events"))
        attributes = {"name": "web", **self.labels}
        event = json.dumps({"Type": "container", "Actor": {"ID": "c1", "Attributes": attributes}}).encode()
        shown = b'{"Type":"container","Actor":{"ID":"c1","Attributes":{"name":"web"}}}\n'
        head = chunked(end=False)
        self.play(DaemonBytes(head + b"%x\r\n" % (len(event) + 1) + event[:50]), ToClient(head))
        self.play(DaemonBytes(event[50:] + b"\n\r\n"), ToClient(b"%x\r\n%b\r\n" % (len(shown), shown)))
        self.play(DaemonBytes(b'5\r\n{}\n{"\r\n'), ToClient(b"3\r\n{}\n\r\n"))
        self.play(DaemonBytes(b"0\r\n\r\n"), ToClient(b'2\r\n{"\r\n0\r\n\r\n'))

    def test_eventsUntilTheEnd(self) -> None:
        """So does one that ends with the connection; one with a length, and an error, pass as they are."""
        self.forwarded(request("GET /events"))
        head = answer("200 OK", length=False)
        self.play(DaemonBytes(head + b"{}\n{"), ToClient(head + b"{}\n"))
        (*_, last) = self.play_any(DaemonEnd())
        self.begin()
        self.forwarded(request("GET /events"))
        whole = answer("200 OK", b"{}\n{")
        self.play(DaemonBytes(whole), ToClient(whole))

    def test_images(self) -> None:
        """Images made of containers are shown without them, and without those of the container."""
        blank = {"a": "b", **dict.fromkeys(self.labels, "")}
        used = {"ImageUsage": {"Items": [{"Labels": blank}]}}
        config = {"Config": {"Labels": blank}, "ContainerConfig": {"Labels": {**blank, **self.labels}}}
        clean = {"a": "b"}
        image, listed = {"Config": {"Labels": clean}, "ContainerConfig": {"Labels": clean}}, {"Labels": clean}
        for target, document, shown in (
            ("/images/i/json", config, image),
            ("/images/json", [{"Labels": None}, {"Labels": blank}], [{"Labels": None}, listed]),
            ("/system/df", {"Images": [{"Labels": blank}]}, {"Images": [listed]}),
            ("/system/df", used, {"ImageUsage": {"Items": [listed]}}),
        ):
            self.begin()
            self.forwarded(request(f"GET {target}"))
            (told,) = self.play_any(DaemonBytes(_json_answer("200 OK", document)))
            self.assertEqual(self.told(told)[1], shown, target)


class PlacingTests(_Case):
    """Volumes and services whose host paths are placed."""

    def test_volume(self) -> None:
        """A volume that is a bind in disguise is placed."""
        mount = BindMount("/home/me/x", "", form=MountForm.VOLUME, create_source=False)
        options = {"type": "none", "o": "bind", "device": "/home/me/x"}
        data = _json_request("POST /volumes/create", {"Name": "v", "DriverOpts": options})
        self.play(ClientBytes(data), Hold(1, PlanVolume(mount)))
        self.play(Resolved(1, PlacedMount(mount, "/mirrors/x", True)), Connect(False))
        (sent,) = self.play_any(DaemonConnected())
        self.assertEqual(self.sent(sent)[1]["DriverOpts"]["device"], "/mirrors/x")

    def test_otherVolume(self) -> None:
        """Any other volume passes as it came."""
        data = _json_request("POST /volumes/create", {"Name": "v"})
        self.forwarded(data)

    def service(self, plan: ServicePlan) -> None:
        """A service without mounts is created; the daemon has not answered."""
        data = _json_request("POST /services/create", {"Name": "s"})
        (hold,) = self.play_any(ClientBytes(data))
        assert isinstance(hold, Hold)
        self.play(Resolved(1, plan), Connect(False))
        (sent,) = self.play_any(DaemonConnected())
        self.assertEqual(self.sent(sent)[1], {"Name": "s", "Labels": dict(plan.labels)})

    def test_serviceMade(self) -> None:
        """The daemon has made a service: that is told, and our warnings are added."""
        plan = ServicePlan(labels={"io.remotedocker.agent": "a"}, warnings=("53/udp",))
        self.service(plan)
        told, notify = self.play_any(DaemonBytes(_json_answer("201 Created", {"ID": "s1"})))
        self.assertEqual(self.told(told)[1], {"ID": "s1", "Warnings": ["53/udp"]})
        self.assertEqual(notify, Notify(ServiceAnswered(plan)))

    def test_serviceRefused(self) -> None:
        """The daemon has refused a service, or was lost."""
        plan = ServicePlan(labels={"io.remotedocker.agent": "a"})
        refused = DaemonBytes(_json_answer("503 Service Unavailable", {"message": "no swarm"}))
        for event in (refused, DaemonLost(lost("gone"))):
            self.begin()
            self.service(plan)
            self.assertIn(Notify(ServiceAnswered(plan)), self.play_any(event))

    def test_service(self) -> None:
        """The mounts of a service's tasks are placed."""
        mounts = [{"Type": "bind", "Source": "/home/me/x", "Target": "/x"}]
        document = {"TaskTemplate": {"ContainerSpec": {"Mounts": mounts}}}
        (hold,) = self.play_any(ClientBytes(_json_request("POST /services/create", document)))
        assert isinstance(hold, Hold) and isinstance(hold.effect, PlanService)
        (mount,) = hold.effect.spec.mounts
        self.play(Resolved(1, ServicePlan((PlacedMount(mount, "/mirrors/x", True),))), Connect(False))
        (sent,) = self.play_any(DaemonConnected())
        placed = self.sent(sent)[1]["TaskTemplate"]["ContainerSpec"]["Mounts"]
        self.assertEqual(placed[0]["Source"], "/mirrors/x")

    def test_otherService(self) -> None:
        """A service without mounts that is not to be ours passes as it came."""
        data = _json_request("POST /services/s/update?version=1", {"Name": "s"})
        self.play(ClientBytes(data), Hold(1, PlanService("s", ServiceSpec("s"))))
        self.play(Resolved(1, ServicePlan()), Connect(False))
        self.play(DaemonConnected(), ToDaemon(data))

    def test_commit(self) -> None:
        """An image of a container of ours does not get our labels."""
        labels = dict(encode_labels("agent", "nonce", Spec(image="x"), ()))
        self.play(ClientBytes(request("POST /commit?container=web&repo=r")), Hold(1, Inspect("web")))
        self.play(Resolved(1, {"Config": {"Labels": {"a": "b", **labels}}}), Connect(False))
        (sent,) = self.play_any(DaemonConnected())
        headers, document = self.sent(sent)
        self.assertEqual(set(document["Labels"]), set(labels))
        self.assertEqual(set(document["Labels"].values()), {""})
        self.assertEqual(headers.get(b"Content-Type"), b"application/json")

    def test_otherCommit(self) -> None:
        """Any other commit passes as it came."""
        data = _json_request("POST /commit?container=web", {})
        for value in (None, {}, {"Config": None}, {"Config": {"Labels": None}}):
            self.begin()
            self.play(ClientBytes(data), Hold(1, Inspect("web")))
            self.play(Resolved(1, value), Connect(False))
            self.play(DaemonConnected(), ToDaemon(data))
