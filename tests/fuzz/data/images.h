/* images: bytes through a decoder of images, within small limits. Include after MAX_BYTES, the memory that it may take. */
#ifndef DRAM_TESTS_FUZZ_IMAGES_H
#define DRAM_TESTS_FUZZ_IMAGES_H

#include "data/decode.h"
#include "fuzz/fuzz.h"
#include "fuzz/heap.h"

enum { MAX_PIXELS = 900 };

/* Whether the image keeps the limits, and agrees with itself. */
static void check_size(const dram_image *image)
{
    int64_t pixels = (int64_t)image->height * image->width;
    must(image->height >= 1 && image->width >= 1 && pixels <= MAX_PIXELS);
    must(image->full_height >= image->height && image->full_width >= image->width);
    if ((int64_t)image->full_height * image->full_width <= MAX_PIXELS)
        must(image->height == image->full_height && image->width == image->full_width);
    must(image->scale_y > 0 && image->scale_y <= 1 && image->scale_x > 0 && image->scale_x <= 1);
}

/* Returns whether it is an image. */
static bool check_image(const uint8_t *data, size_t size)
{
    static const dram_image_limits limits = {MAX_PIXELS, MAX_BYTES};
    dram_image image, again;
    int64_t before = dram_alloc_bytes();
    heap_watch();
    dram_status status = dram_image_decode(data, size, "input", &limits, &image);
    must(heap_most() <= MAX_BYTES);
    if (status == DRAM_OK) {
        check_size(&image);
        must(dram_image_decode(data, size, "input", &limits, &again) == DRAM_OK);
        must(again.height == image.height && again.width == image.width);
        must(memcmp(again.pixels, image.pixels, (size_t)image.height * (size_t)image.width * 3) == 0);
        dram_image_free(&again);
        must(!*dram_error_text());
    } else {
        must(status == DRAM_ERR_FORMAT && !image.pixels);
        refused();
    }
    dram_image_free(&image);
    must(dram_alloc_bytes() == before);
    return status == DRAM_OK;
}

#endif
