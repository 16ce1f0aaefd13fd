/* images: bytes through a decoder of images, within small limits. Include after MAX_BYTES, the memory that it may take. */
#ifndef DRAM_TESTS_FUZZ_IMAGES_H
#define DRAM_TESTS_FUZZ_IMAGES_H

#include "data/decode.h"
#include "fuzz/fuzz.h"
#include "fuzz/heap.h"

enum { MAX_PIXELS = 900 };

/* What a library is known to take more than it may, and whether it reads nothing behind the end of the image: nothing,
 * and so it is, but for a library whose target defines OWN_LIMITS. */
static size_t extra_bytes(const uint8_t *data, size_t size);
static bool ends(const uint8_t *data, size_t size);
#ifndef OWN_LIMITS
static size_t extra_bytes(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    return 0;
}

static bool ends(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    return true;
}
#endif

static dram_status decode_image(const uint8_t *data, size_t size, bool stored, int range, dram_image *out)
{
    const dram_image_rules rules = {MAX_PIXELS, MAX_BYTES, stored, range};
    heap_watch();
    dram_status status = dram_image_decode(data, size, "input", &rules, out);
    must(heap_most() <= MAX_BYTES + extra_bytes(data, size));
    must((status == DRAM_OK) == (*dram_error_text() == '\0'));
    return status;
}

static size_t bytes_of(const dram_image *image)
{
    return (size_t)image->height * (size_t)image->width * 3;
}

static bool is_scaled(const dram_image *image)
{
    return image->height != image->full_height || image->width != image->full_width;
}

/* Whether the image keeps the limits, and agrees with itself and with its header. */
static void check_size(const dram_image *image, const dram_image_header *header)
{
    int64_t pixels = (int64_t)image->height * image->width;
    bool swapped = header->orientation >= 5;
    must(image->height >= 1 && image->width >= 1 && pixels <= MAX_PIXELS);
    must(image->full_height >= image->height && image->full_width >= image->width);
    must(!is_scaled(image) || (int64_t)image->full_height * image->full_width > MAX_PIXELS);
    must(image->scale_y > 0 && image->scale_y <= 1 && image->scale_x > 0 && image->scale_x <= 1);
    must(image->full_height == (swapped ? header->width : header->height));
    must(image->full_width == (swapped ? header->height : header->width));
    must(image->orientation == header->orientation);
    must(image->peak >= 0 && image->peak <= DRAM_IMAGE_FULL_RANGE && (image->peak == 0 || header->bits == 16));
}

/* EXIF 2.3, tag 0x0112: the stored row 0 and column 0 are at these sides of the image. */
static void check_turned(const dram_image *turned, const dram_image *stored)
{
    int h = stored->height, w = stored->width, o = stored->orientation;
    bool swapped = o >= 5, rows_from_end = o == 3 || o == 4 || o == 6 || o == 7,
         columns_from_end = o == 2 || o == 3 || o == 7 || o == 8;
    must(turned->height == (swapped ? w : h) && turned->width == (swapped ? h : w));
    for (int r = 0; r < h; r++) {
        for (int c = 0; c < w; c++) {
            int along = rows_from_end ? h - 1 - r : r, across = columns_from_end ? w - 1 - c : c;
            int y = swapped ? across : along, x = swapped ? along : across;
            must(memcmp(turned->pixels + 3 * (y * turned->width + x), stored->pixels + 3 * (r * w + c), 3) == 0);
        }
    }
}

/* Other rules give the same image, turned or brightened. */
static void check_rules(const uint8_t *data, size_t size, const dram_image *image)
{
    dram_image other;
    must(decode_image(data, size, true, 0, &other) == DRAM_OK);
    must(other.orientation == image->orientation && other.peak == image->peak);
    check_turned(image, &other);
    dram_image_free(&other);
    must(decode_image(data, size, false, image->peak, &other) == DRAM_OK);
    must(bytes_of(&other) == bytes_of(image));
    if (image->peak && !is_scaled(image)) must(memchr(other.pixels, 255, bytes_of(&other)));
    if (!image->peak) must(memcmp(other.pixels, image->pixels, bytes_of(image)) == 0);
    dram_image_free(&other);
}

/* The file without its end, some bytes of it: both call it cut, or neither. */
static void check_cut(const uint8_t *data, size_t size)
{
    dram_image image;
    dram_image_header header;
    size_t n = size - 1 - data[size / 2] % (size - 1);
    uint8_t *part = malloc(n); /* without room behind it */
    must(part);
    memcpy(part, data, n);
    dram_status status = decode_image(part, n, false, 0, &image);
    if (status != DRAM_OK) refused();
    dram_image_free(&image);
    must((dram_image_look(part, n, "input", &header) == DRAM_OK) == (status == DRAM_OK));
    if (status != DRAM_OK) refused();
    free(part);
}

/* Returns whether it is an image. What is one has a header. */
static bool check_image(const uint8_t *data, size_t size)
{
    dram_image image;
    dram_image_header header;
    int64_t before = dram_alloc_bytes();
    dram_status status = decode_image(data, size, false, 0, &image);
    if (status != DRAM_OK) {
        must(status == DRAM_ERR_FORMAT && !image.pixels);
        refused();
    }
    if (dram_image_look(data, size, "input", &header) == DRAM_OK) {
        must(header.format && header.height >= 1 && header.width >= 1 && header.bits >= 1 && header.bits <= 16);
        must(header.orientation >= 1 && header.orientation <= 8);
    } else {
        must(status != DRAM_OK && !header.format);
        refused();
    }
    if (status == DRAM_OK) {
        check_size(&image, &header);
        check_rules(data, size, &image);
        if (ends(data, size)) check_cut(data, size);
    }
    dram_image_free(&image);
    must(!*dram_error_text() && dram_alloc_bytes() == before);
    return status == DRAM_OK;
}

#endif
