#!/bin/sh
# Stand-in for the Graphistry release, made by graphistry-cluster's sandbox: one line per service, and
# exit code 1 when a service is not healthy.
cd "$(dirname "$0")/../.." || exit 1
./graphistry ps -a --format json | python3 -c '
import json, sys
states = [json.loads(line) for line in sys.stdin]
for state in states:
    print("{Service}: {State} {Health}".format(**state))
sys.exit(not states or any(state["Health"] != "healthy" for state in states))'
