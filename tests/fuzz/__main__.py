"""Fuzz the readers of files: ``python -m tests.fuzz --cases 1000000``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.readers import READERS
from tests.fuzz.run import EQUAL, READ, REFUSED, run


def main() -> int:
    """Run cases of each reader, print the counts and keep the findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--cases', type=int, default=20_000, help='of all readers')
    parser.add_argument('--seed', type=int, default=0, help='number of the first case')
    parser.add_argument('--only', choices=[one.name for one in READERS])
    parser.add_argument('--out', type=Path, default=Path('fuzz_findings'))
    args = parser.parse_args()
    chosen = [one for one in READERS if args.only in (None, one.name)]
    shares = sum(one.share for one in chosen)
    total = findings = 0
    start = time.monotonic()
    for reader in chosen:
        cases = max(round(args.cases * reader.share / shares), 1)
        began = time.monotonic()
        tally = run(reader, range(args.seed, args.seed + cases), args.out)
        rate = cases / (time.monotonic() - began)
        counts = ', '.join(
            f'{tally.counts[name]} {name}' for name in (EQUAL, READ, REFUSED)
        )
        print(
            f'{reader.name:14} {cases} cases: {counts}; '
            f'{len(tally.findings)} findings; {rate:.0f} a second, '
            f'the slowest {tally.slowest:.2f} s',
            flush=True,
        )
        for text, numbers in tally.findings.items():
            shown = ', '.join(map(str, numbers[:5]))
            print(f'  {len(numbers)} times: {text[:300]!r} (cases {shown})', flush=True)
        total += cases
        findings += len(tally.findings)
    took = time.monotonic() - start
    print(f'{total} cases in {took:.0f} s: {findings} findings')
    return int(findings > 0)


if __name__ == '__main__':
    sys.exit(main())
