/* decode: one decoder a format, called by image.c, and what the decoders share. Internal to src/data. */
#ifndef DRAM_DATA_DECODE_H
#define DRAM_DATA_DECODE_H

#include "data/image.h"
#include "data/look.h"

/* Sides above it are refused: no format's decoder is asked for rows of many gigabytes. */
enum { DRAM_IMAGE_MAX_SIDE = 1 << 20 };

typedef struct {
    const uint8_t *bytes; /* the file */
    size_t n;
    const char *name;
    dram_image_rules rules;
} dram_source;

/* Each fills *out with the image before it is turned, and out->orientation; the memory of turning it is already counted
 * against max_bytes. On failure out->pixels may be held: the caller frees. */
dram_status dram_decode_jpeg(const dram_source *source, dram_image *out);
dram_status dram_decode_png(const dram_source *source, dram_image *out);
dram_status dram_decode_webp(const dram_source *source, dram_image *out);

/* dram_image_look for one format; all but out->format. */
dram_status dram_look_jpeg(const dram_source *source, dram_image_header *out);
dram_status dram_look_png(const dram_source *source, dram_image_header *out);
dram_status dram_look_webp(const dram_source *source, dram_image_header *out);

typedef struct {
    const char *name;
    dram_status (*decode)(const dram_source *source, dram_image *out);
    dram_status (*look)(const dram_source *source, dram_image_header *out);
} dram_image_format;

/* The format that the first bytes tell, static. DRAM_ERR_FORMAT says what else the file is, if that is known. */
dram_status dram_image_format_of(const dram_source *source, const dram_image_format **out);

/* Ids of a PNG label into out->ids [height,width], rules checked. On failure out->ids may be held. */
dram_status dram_decode_label(const dram_source *source, const dram_label_rules *rules, dram_label *out);

/* Whether a label of this size may be its image's; EXIF's orientation is named where it is what keeps the two apart. */
dram_status dram_check_label_size(const dram_source *source, const dram_label_rules *rules, int height, int width);

/* DRAM_ERR_FORMAT with the file's name and the reason. */
dram_status dram_bad_image(const dram_source *source, const char *reason);

/* Whether decoding that holds `bytes` beside the file itself keeps max_bytes: DRAM_OK or DRAM_ERR_FORMAT. */
dram_status dram_check_memory(const dram_source *source, int height, int width, int64_t bytes);

/* Bytes of the image and its turned copy, held together; 0 where it is not turned. */
int64_t dram_turning_bytes(const dram_source *source, const dram_image *image, int64_t bytes);

/* Sets full and decoded size and the scales of an image that the decoded pixels cover exactly. */
void dram_image_sized(dram_image *image, int full_height, int full_width, int height, int width);

/* Sets *orientation (1..8) from an EXIF block of n bytes, with or without its "Exif\0\0" (EXIF 2.3, tag 0x0112); 1 if
 * it has none or is damaged. DRAM_ERR_MEMORY only. */
dram_status dram_exif_orientation(const uint8_t *exif, size_t n, int *orientation);

#endif
