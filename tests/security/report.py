# SPDX-License-Identifier: Apache-2.0
"""
usage: report.py --reset|--show, with WORMHOLE_BIN set: empties the security tests' tally before they run, and prints it as a
table after they have. Fails when a wall was breached, something was lost, or a fuzzer found something.
"""
import sys

import tally

TEXTS = {
    "walls": "walls tried from inside and outside", "breaches": "breaches",
    "hostile": "hostile packets, frames, lies and floods", "faults": "faults brought about",
    "losses": "losses", "fuzzed_s": "seconds fuzzed", "findings": "findings",
}
MUST_BE_ZERO = ("breaches", "losses", "findings")


def show():
    lines = tally.path().read_text().splitlines() if tally.path().exists() else []
    total = tally.total(lines)
    print("=== SHOW ===")
    print("Security")
    for field in tally.FIELDS:
        print(f"  {TEXTS[field]:<42} {total[field]:>8,}")
    print("=== END SHOW ===")
    bad = [TEXTS[field] for field in MUST_BE_ZERO if total[field]]
    if not lines:
        sys.exit("nothing was counted: no security test ran")
    if bad:
        sys.exit("not zero: " + ", ".join(bad))


if __name__ == "__main__":
    if "--reset" in sys.argv[1:]:
        tally.path().unlink(missing_ok=True)
    else:
        show()
