/* Synthetic scenes of any size, for work that needs large images: bench_scenes DIR COUNT HEIGHT WIDTH */
#include <stdio.h>
#include <stdlib.h>

#include "synth/synth.h"

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "bench_scenes DIR COUNT HEIGHT WIDTH\n");
        return 2;
    }
    if (dram_synth_write(argv[1], atoi(argv[2]), DRAM_SYNTH_PLAIN, 3, atoi(argv[3]), atoi(argv[4])) == DRAM_OK)
        return 0;
    fprintf(stderr, "bench_scenes: %s\n", dram_error_text());
    return 1;
}
