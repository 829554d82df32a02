"""Command line of the agent.

On a machine of AWS:
  install REGION BUCKET PREFIX   install the systemd unit and start it
  run REGION BUCKET PREFIX       converge to the specification and keep the node so, for ever
On a host:
  inspect                        what this host is and has; one JSON object
  reach ADDRESS PORT...          which ports of another host answer (51820/udp is one of UDP); one JSON object
  listen PORT...                 answer on those ports that are free until standard input ends, at most 60 s
  deliver [--release PATH]       be the node that the specification on standard input says
  run hosts                      converge to what was delivered and keep the node so, for ever
  wait SHA256                    wait until the node is ready for the specification with this hash
  status                         the node's report and its age; one JSON object
  secret                         what followers get of the leader's secret
  tunnel-key                     this host's public key of WireGuard, which is made where there is none
  tunnel-peer ADDRESS KEY        know the node with this private address by its public key
  accept-secret                  keep the secret on standard input
  accept-secret-env              keep the stack file's secret variables, a JSON object on standard input
  admit STACK                    let in another stack's followers: a JSON list of addresses on standard input
  guests                         whom `admit` has let in; one JSON object
  remove [SHA256]                take away what the agent has installed; no data, and of the secret only a copy of
                                 what followers get of the leader's, which has this hash
  strays                         take away data services that a cluster of before has left here as containers
On every node:
  exercise NAME [ARGUMENT...]    use this node as its users do; one JSON object
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Sequence

from agent.data import data_containers
from agent.exercise import exercise
from agent.failures import Failure
from agent.graphistry import secret_variables
from agent.machine import unit
from agent.phases import tunnel
from agent.sites import guests, host_secret
from agent.sites.aws_site import AwsSite
from agent.sites.deliver import deliver
from agent.sites.hosts_site import HostsSite
from agent.sites.inspect_host import inspect
from agent.sites.reach import listen, reach
from agent.sites.remove import remove
from agent.sites.wait import status, wait
from agent.watch import run


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; its exit status."""
    command, *rest = arguments or [""]
    try:
        return _run(command, rest)
    except Failure as failure:
        for line in failure.log:
            print(line, file=sys.stderr)
        # The last line says it all: some callers show no more.
        print(f"{failure.code}: {failure.message} ({failure.hint})", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1  # whoever has asked is gone


def _run(command: str, rest: list[str]) -> int:
    if command == "install" and len(rest) == 3:
        unit.write(Path(sys.argv[0]).resolve(), rest)
        unit.restart()
    elif command == "run" and rest == ["hosts"]:
        run(HostsSite())
    elif command == "run" and len(rest) == 3:
        run(AwsSite(*rest))
    elif command == "deliver" and (not rest or (rest[0] == "--release" and len(rest) == 2)):
        print(deliver(sys.stdin.buffer.read(), Path(rest[1]) if rest else None), flush=True)
    elif command == "wait" and len(rest) == 1:
        return wait(rest[0])
    elif command == "secret" and not rest:
        return _show_secret()
    elif command == "tunnel-key" and not rest:
        print(tunnel.public_key())
    elif command == "tunnel-peer" and len(rest) == 2:
        print(tunnel.meet(*rest))
    elif command == "accept-secret" and not rest:
        host_secret.accept(sys.stdin.read())
        print("the secret is kept")
    elif command == "accept-secret-env" and not rest:
        secret_variables.accept(sys.stdin.read())
        print("the secret variables are kept")
    elif command == "admit" and len(rest) == 1:
        print(guests.admit(rest[0], sys.stdin.read()))
    elif command == "reach" and len(rest) > 1:
        print(json.dumps(reach(rest[0], rest[1:])))
    elif command == "listen" and rest:
        listen(rest)
    elif command == "exercise" and rest:
        return exercise(rest[0], rest[1:])
    elif command in FACTS and not rest:
        print(json.dumps(FACTS[command](), sort_keys=True))
    elif command == "strays" and not rest:
        for volume in data_containers.remove():
            print(f"containers of a cluster of before were removed; their volume {volume} stays")
    elif command == "remove" and len(rest) <= 1:
        for line in remove(*rest):
            print(line, flush=True)
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


FACTS = {"inspect": inspect, "status": status, "guests": guests.by_stack}
"""Commands that only tell something, as one JSON object."""


def _show_secret() -> int:
    text = host_secret.share()
    if text is None:
        raise Failure("SecretNotFilled", "there is no secret on this host")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
