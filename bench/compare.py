"""Reads what scripts/bench.sh measured and prints a Markdown table: dram with three settings, PyTorch, and their ratios."""

import json
import statistics
import sys

BATCH = 4
CONFIGS = {"step": "dram", "exact": "dram, exact levers", "lean": "dram, all levers"}
MIB = 1024 * 1024


def read_round(folder, config, i):
    with open(f"{folder}/{config}{i}.json") as file:
        summary = json.load(file)
    with open(f"{folder}/{config}{i}/bench/metrics.jsonl") as file:
        lines = [json.loads(line) for line in file][1:]  # the first step warms up
    seconds = statistics.median(BATCH / line["images_per_second"] for line in lines)
    return seconds, summary["process_peak_rss_bytes"], summary["planned_peak_bytes"]


def main():
    folder, rounds = sys.argv[1], int(sys.argv[2])
    torch = []
    for i in range(rounds):
        with open(f"{folder}/torch{i}.json") as file:
            torch.append(json.load(file))
    seconds = [t["step_seconds"] for t in torch]
    resident = statistics.median(t["process_peak_rss_bytes"] for t in torch)
    print(f"{rounds} rounds in turn, medians; PyTorch {torch[0]['torch']}, timm {torch[0]['timm']}, "
          f"{torch[0]['threads']} threads; {statistics.median(t['imported_bytes'] for t in torch) / MIB:.0f} MiB of "
          "PyTorch's memory is resident after its imports; its product of 4096x768 and 768x2304 has "
          f"{statistics.median(t['product_gflops'] for t in torch):.0f} GFLOP/s (bench_conv has dram's)")
    print()
    print("| | step time, s | / PyTorch | peak resident, MiB | / PyTorch | of it planned, MiB |")
    print("|---|---|---|---|---|---|")
    for config, name in CONFIGS.items():
        measured = [read_round(folder, config, i) for i in range(rounds)]
        ratio = [row[0] / other for row, other in zip(measured, seconds)]
        time, peak, planned = (statistics.median(column) for column in zip(*measured))
        print(f"| {name} | {time:.2f} | {statistics.median(ratio):.2f} ({min(ratio):.2f} to {max(ratio):.2f}) "
              f"| {peak / MIB:.0f} | {peak / resident:.2f} | {planned / MIB:.0f} |")
    print(f"| PyTorch | {statistics.median(seconds):.2f} | 1 | {resident / MIB:.0f} | 1 | none |")


if __name__ == "__main__":
    main()
