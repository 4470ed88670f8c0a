# SPDX-License-Identifier: Apache-2.0
"""Reads ctest's JUnit files and prints, for people, the tables that tests asked to be shown, what was skipped and
why, and what failed. Must not judge anything itself beyond counting: exit 1 when a test failed or nothing ran."""
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

TABLE = re.compile(r"^=== SHOW ===\n(.*?)^=== END SHOW ===$", flags=re.M | re.S)
SKIP_REASON = re.compile(r"^(?:SKIPPED(?: \[\d+\])?|SKIP:) (.*)$", flags=re.M)


def main(files):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    tables, reasons, failures = [], [], []
    for file in map(pathlib.Path, files):
        if not file.exists():
            continue
        for case in ElementTree.parse(file).getroot().iter("testcase"):
            name, status = f"{file.stem}: {case.get('name')}", case.get("status")
            output = case.findtext("system-out") or ""
            tables += TABLE.findall(output)
            why = SKIP_REASON.findall(output)
            reasons += [f"{name}: {reason}" for reason in why]
            if status == "run":
                counts["passed"] += 1
            elif status in ("notrun", "disabled"):
                counts["skipped"] += 1
                if not why:
                    reasons.append(f"{name}: not run")
            else:
                counts["failed"] += 1
                failures.append(name)
    for table in tables:
        print(table)
    print("Skipped, and why:" if reasons else "Nothing was skipped.")
    for line in reasons:
        print(f"  {line}")
    for line in failures:
        print(f"  FAILED {line}")
    print(", ".join(f"{n} {word}" for word, n in counts.items()))
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
