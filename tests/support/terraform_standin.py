#!/usr/bin/env python3
"""Stands in for Terraform where a machine has none: the part of its command line and of its `-json` output that we use.

It reads `standin.json` beside a configuration (`support.terraform` writes both from one description) and keeps its own
state. What it prints was recorded from Terraform 1.11.4. Like that, it locks its state, ends what it is doing when it
is interrupted once, and leaves at once, with its state unsaved and locked, when it is interrupted twice.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

STATE, LOCK = Path("terraform.tfstate"), Path(".terraform.tfstate.lock.info")
POLL_SECONDS = 0.02
interrupts = 0
locked = False


def say(message: str, level: str = "info", **more: Any) -> None:
    now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
    line = {"@level": level, "@message": message, "@module": "terraform.ui", "@timestamp": now, **more}
    print(json.dumps(line, separators=(",", ":")), flush=True)


def fail(summary: str, detail: str = "", **more: Any) -> None:
    diagnostic = {"severity": "error", "summary": summary, "detail": detail, **more}
    say(f"Error: {summary}", "error", diagnostic=diagnostic, type="diagnostic")


def interrupted(_number: int, _frame: object) -> None:
    global interrupts
    interrupts += 1
    if interrupts > 1:
        say("\nTwo interrupts received. Exiting immediately. Note that data loss may have occurred.\n", type="log")
        os._exit(1)
    say(
        "\nInterrupt received.\nPlease wait for Terraform to exit or data loss may occur.\n"
        "Gracefully shutting down...\n",
        type="log",
    )
    say("Stopping operation...", type="log")


def option(name: str) -> list[str]:
    return [item.split("=", 1)[1] for item in sys.argv[2:] if item.startswith(f"{name}=")]


def state() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(STATE.read_text()) if STATE.exists() else {"serial": 0, "resources": {}}
    return found


def lock(operation: str) -> bool:
    global locked
    seconds = float((option("-lock-timeout") or ["0s"])[0].removesuffix("s"))
    end = time.monotonic() + seconds
    info = {"ID": hashlib.md5(os.urandom(8)).hexdigest(), "Operation": operation, "Who": f"standin@{os.getpid()}"}
    info |= {"Version": "1.11.4", "Created": datetime.now(timezone.utc).isoformat(), "Path": str(STATE)}
    while True:
        try:
            with LOCK.open("x") as file:
                json.dump(info, file)
            locked = True
            return True
        except FileExistsError:
            if time.monotonic() >= end:
                break
            time.sleep(POLL_SECONDS)
    held = json.loads(LOCK.read_text())
    names = ("ID", "Path", "Operation", "Who", "Version", "Created")
    lines = "\n".join(f"  {name + ':':<10} {held[name]}" for name in names)
    fail(
        "Error acquiring the state lock",
        f"Error message: resource temporarily unavailable\nLock Info:\n{lines}\n  Info:      \n\n\n"
        "Terraform acquires a state lock to protect the state from being written\nby multiple users at the same time.",
    )
    return False


def resource(name: str) -> dict[str, Any]:
    return {"addr": f"terraform_data.{name}", "resource_type": "terraform_data", "resource_name": name}


def values() -> dict[str, str]:
    found = dict(item.split("=", 1) for item in option("-var"))
    for path in option("-var-file"):
        for line in Path(path).read_text().splitlines():
            name, _, value = line.partition(" = ")
            found[name] = json.loads(value).replace("$${", "${").replace("%%{", "%{")
    return found


def plan() -> int:
    if not lock("OperationTypePlan"):
        return 1
    wanted = json.loads(Path("standin.json").read_text())
    present = state()
    changes = [("create", item["name"]) for item in wanted["resources"] if item["name"] not in present["resources"]]
    known = {item["name"] for item in wanted["resources"]}
    changes += [("delete", name) for name in present["resources"] if name not in known]
    for action, name in changes:
        change = {"resource": resource(name), "action": action}
        say(f"terraform_data.{name}: Plan to {action}", change=change, type="planned_change")
    add, remove = (sum(action == kind for action, _ in changes) for kind in ("create", "delete"))
    counts = {"add": add, "change": 0, "import": 0, "remove": remove, "operation": "plan"}
    say(f"Plan: {add} to add, 0 to change, {remove} to destroy.", changes=counts, type="change_summary")
    kept = {"serial": present["serial"], "changes": changes, "wanted": wanted, "values": values()}
    Path(option("-out")[0]).write_text(json.dumps(kept))
    return 2 if changes else 0


def apply() -> int:
    kept = json.loads(Path(sys.argv[-1]).read_text())
    if not lock("OperationTypeApply"):
        return 1
    present = state()
    if present["serial"] != kept["serial"]:
        fail("Saved plan is stale", "The given plan file can no longer be applied because the state was changed.")
        return 1
    code, done = 0, {"add": 0, "remove": 0}
    commands = {item["name"]: item["command"] for item in kept["wanted"]["resources"]}
    for action, name in kept["changes"]:
        hook = {"resource": resource(name), "action": action}
        say(f"terraform_data.{name}: {action}", hook=hook, type="apply_start")
        if action == "create" and (words := provision(commands[name])):
            say(f"terraform_data.{name}: Creation errored after 0s", hook=hook, type="apply_errored")
            fail("local-exec provisioner error", words, address=f"terraform_data.{name}")
            code = 1
            break
        present["serial"] += 1
        if action == "create":
            present["resources"][name] = "made"
            done["add"] += 1
        else:
            del present["resources"][name]
            done["remove"] += 1
        say(f"terraform_data.{name}: complete after 0s", hook=hook, type="apply_complete")
    given = kept["values"]
    present["outputs"] = {
        "region": {"sensitive": False, "value": given["region"]},
        "fingerprint": {"sensitive": False, "value": hashlib.sha256(given.get("secret", "").encode()).hexdigest()},
        "password": {"sensitive": True, "value": given.get("secret", "")},
    }
    STATE.write_text(json.dumps(present))
    if interrupts:
        fail("execution halted")
        return 1
    if code == 0:
        counts = {**done, "change": 0, "import": 0, "operation": "apply"}
        say("Apply complete!", changes=counts, type="change_summary")
    return code


def provision(command: str) -> str:
    """What went wrong."""
    child = subprocess.Popen(["/bin/sh", "-c", command], start_new_session=True)
    while child.poll() is None:
        if interrupts:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        time.sleep(POLL_SECONDS)
    return f"Error running command '{command}': exit status {child.returncode}. Output: " if child.returncode else ""


def main() -> int:
    signal.signal(signal.SIGINT, interrupted)
    command = sys.argv[1]
    if command == "version":
        print("Terraform v1.11.4\non linux_amd64")
        return 0
    if command == "output":
        print(json.dumps(state().get("outputs", {})))
        return 0
    say("Terraform 1.11.4", terraform="1.11.4", type="version", ui="1.2")
    if command == "init":
        say("Terraform has been successfully initialized!", type="init_output")
        return 0
    try:
        return {"plan": plan, "apply": apply}[command]()
    finally:
        if locked:
            LOCK.unlink()


if __name__ == "__main__":
    sys.exit(main())
