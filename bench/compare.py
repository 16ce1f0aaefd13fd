"""Reads what scripts/bench.sh measured and prints a Markdown table: dram, PyTorch, and their ratio."""

import json
import statistics
import sys


def main():
    folder, rounds = sys.argv[1], int(sys.argv[2])
    rows = []
    for i in range(rounds):
        with open(f"{folder}/dram{i}.json") as file:
            summary = json.load(file)
        with open(f"{folder}/dram{i}/bench/metrics.jsonl") as file:
            lines = [json.loads(line) for line in file][1:]  # the first step warms up
        with open(f"{folder}/torch{i}.json") as file:
            torch = json.load(file)
        ours = statistics.median(4 / line["images_per_second"] for line in lines)
        rows.append((ours, torch["step_seconds"], summary["process_peak_rss_bytes"], torch["process_peak_rss_bytes"],
                     summary["planned_peak_bytes"], torch["imported_bytes"]))
    ratio = [row[0] / row[1] for row in rows]
    ours, theirs, our_bytes, their_bytes, planned, imported = (statistics.median(column) for column in zip(*rows))
    mib = 1024 * 1024
    print(f"{rounds} rounds in turn, medians; PyTorch {torch['torch']}, timm {torch['timm']}, {torch['threads']} threads")
    print()
    print("| | dram | PyTorch | dram / PyTorch |")
    print("|---|---|---|---|")
    print(f"| step time, s | {ours:.2f} | {theirs:.2f} | {statistics.median(ratio):.2f} "
          f"({min(ratio):.2f} to {max(ratio):.2f}) |")
    print(f"| peak resident memory, MiB | {our_bytes / mib:.0f} | {their_bytes / mib:.0f} | {our_bytes / their_bytes:.2f} |")
    print(f"| of it known before the first step, MiB | {planned / mib:.0f} | none | |")
    print(f"| of it resident after the imports, MiB | | {imported / mib:.0f} | |")


if __name__ == "__main__":
    main()
