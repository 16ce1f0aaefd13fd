/* image: image files to RGB, label files to class ids, and back.
 *
 * A file's format is told by its first bytes, never by its extension: JPEG (libjpeg-turbo), PNG (libspng), WebP
 * (libwebp). What comes out is always RGB u8 [H,W,3]: grey is repeated, a palette looked up, CMYK taken in Adobe's
 * inverted convention (as Pillow does), and alpha is dropped, not composited. A sample of 16 bits is cut to its high 8,
 * or brought from 0..range to 0..255. An image is turned as EXIF's orientation says, in all three formats alike (APP1
 * of JPEG, EXIF of WebP, eXIf of PNG), unless `stored`. A label is taken as it is stored.
 *
 * Legend: H W height and width of what was decoded. "Original" means the file's image after EXIF orientation (if it is
 * applied) and before any scaling down; label files and geometries (augment.h) are in original pixels.
 */
#ifndef DRAM_DATA_IMAGE_H
#define DRAM_DATA_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/class_map.h"
#include "base/status.h"

enum { DRAM_IMAGE_FULL_RANGE = 65535 };

typedef struct {
    int64_t max_pixels; /* a larger image is scaled down while it is decoded; 0: no limit */
    int64_t max_bytes;  /* an image whose decoding would hold more host memory is refused; 0: no limit */
    bool stored;        /* EXIF's orientation is not applied (data.orientation: stored) */
    int range;          /* white of 16-bit samples (data.range): v becomes v * 255 / range, rounded, 255 at most. 0 or
                * DRAM_IMAGE_FULL_RANGE: v >> 8. Other files do not ask for it */
} dram_image_rules;

typedef struct {
    uint8_t *pixels;             /* [height,width,3] RGB, owned; dram_image_free */
    int height, width;           /* decoded size; height * width <= max_pixels */
    int full_height, full_width; /* original size */
    double scale_y, scale_x;     /* decoded pixels per original pixel */
    double origin_y, origin_x; /* decoded y = origin_y + scale_y * original y; 0 unless a cut-off DCT block is first */
    int orientation;           /* EXIF's, 1..8, applied or not; 1 where there is none */
    int peak;                  /* largest 16-bit sample of the whole file, alpha aside; 0: it has not 16 bits */
} dram_image;

/* Reads and decodes a file. JPEG is scaled by its DCT (the largest n/8 that keeps max_pixels, and below 1/8 by area),
 * WebP inside its decoder, PNG row by row with an area filter, so that a huge image is never whole in memory (an
 * interlaced PNG, a lossless WebP and a JPEG of several scans cannot be split: they count whole against max_bytes).
 * What max_bytes cannot know: libwebp takes up to 21 KiB for each group of codes of a lossless file, 65536 of them at most.
 * On failure *out is {0} and the text names the file.
 *   DRAM_ERR_FORMAT  a bad image: empty, truncated, damaged (any warning of libjpeg counts as damage), of another
 *                    format, animated, or over max_bytes. Nothing else is wrong: the caller may skip the file.
 *   DRAM_ERR_IO      the file cannot be read.       DRAM_ERR_MEMORY  memory is out. */
dram_status dram_image_load(const char *path, const dram_image_rules *rules, dram_image *out);

/* The same from bytes[0..n), which are only read; `name` stands for the file in messages. */
dram_status dram_image_decode(const uint8_t *bytes, size_t n, const char *name, const dram_image_rules *rules,
                              dram_image *out);

/* The whole file into *bytes, the caller's: dram_free. max_bytes: a larger file is DRAM_ERR_FORMAT; 0: no limit. Else
 * the errors of dram_image_load. */
dram_status dram_image_read(const char *path, int64_t max_bytes, uint8_t **bytes, size_t *n);

void dram_image_free(dram_image *image); /* leaves {0}; {0} is allowed */

typedef struct {
    uint8_t *ids; /* [height,width] class ids, owned; dram_label_free */
    int height, width;
} dram_label;

typedef struct {
    int height, width;         /* size the label must have: the image's full_height, full_width; 0: any */
    int classes;               /* ids must be below it, or be ignore_index; 0: any id */
    int ignore_index;          /* -1: none */
    const dram_class_map *map; /* what stored values mean; NULL: their own number. Borrowed */
    bool reduce_zero;          /* after the map: 0 becomes ignore_index, k becomes k - 1, ignore_index stays */
    int64_t max_bytes;         /* as in dram_image_rules */
    int orientation;           /* of its image, and whether it was not applied: they explain a size that does not */
    bool stored;               /* match; orientation 0: not known */
} dram_label_rules;

/* Reads a label: a PNG of one channel with 1 to 8 bits. The id is the grey value as stored or the palette *index*,
 * never a colour; under a map of colours it is the colour, of a palette, of grey, or of a PNG with colours, 8 bits a
 * sample. Alpha does not count. What is stored becomes a class as dram_label_class has it. Everything that breaks a
 * rule, and any other kind of file, is DRAM_ERR_FORMAT with the file, the value and what it became in the text: a label
 * must not be skipped silently. DRAM_ERR_IO and DRAM_ERR_MEMORY as above. */
dram_status dram_label_load(const char *path, const dram_label_rules *rules, dram_label *out);

/* The class of a pixel, 0..255: an id below rules->classes, or ignore_index; -1: the value is not allowed.
 * color_file, value, color: as dram_label_look gives them. */
int dram_label_class(const dram_label_rules *rules, bool color_file, uint32_t value, uint32_t color);

/* What a label file holds, whatever it means. */
enum { DRAM_LABEL_VALUES = 256 };
#define DRAM_NO_COLOR UINT32_MAX /* of an index that the palette has no colour for */
typedef struct {
    int height, width;
    int n; /* different values; DRAM_LABEL_VALUES + 1: more than that, and the rest is not counted (a photograph) */
    bool color; /* the file has colours, or grey with alpha: value is color. Else value is the grey or the index */
    struct {
        uint32_t value, color; /* as stored, and the 0xRRGGBB that this is, of grey and palette too */
        int64_t pixels;
    } found[DRAM_LABEL_VALUES]; /* [n] by rising value */
} dram_label_values;

/* Every pixel of a label file, under no rule but that it is a PNG of 8 bits a sample or fewer. `name` stands for the
 * file in messages. DRAM_ERR_FORMAT: no such file, damaged, truncated, or over max_bytes. */
dram_status dram_label_look(const uint8_t *bytes, size_t n, const char *name, int64_t max_bytes,
                            dram_label_values *out);

/* What the values of a label say about rules that do not suit them: "set data.class_map to {255: 1}". At most `size`
 * bytes into out, which is returned; "" where nothing is known. Also where no value is refused: masks of 0 and 255 for
 * two classes, where 255 is ignore_index. */
char *dram_label_advice(const dram_label_rules *rules, const dram_label_values *values, char *out, size_t size);

void dram_label_free(dram_label *label);

/* Write a file (replacing it): RGB u8 [height,width,3] as JPEG (4:2:0, quality 1..100) or PNG; grey u8 [height,width]
 * as 8-bit PNG. DRAM_ERR_IO names the file. */
dram_status dram_image_write_jpeg(const char *path, const uint8_t *rgb, int height, int width, int quality);
dram_status dram_image_write_png(const char *path, const uint8_t *rgb, int height, int width);
dram_status dram_label_write_png(const char *path, const uint8_t *ids, int height, int width);

/* The bytes of such a PNG file; the caller's: dram_free. software: who made it, in a text chunk before the pixels; NULL:
 * none. name: for errors. */
dram_status dram_image_encode_png(const char *name, const char *software, const uint8_t *rgb, int height, int width,
                                  void **bytes, size_t *n);

#endif
