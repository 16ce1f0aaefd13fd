#include "data/look.h"

#include <stdatomic.h>
#include <string.h>

#include "base/signature.h"
#include "data/decode.h"

/* ---- what a file is ---- */

#define SAVE_AS_PNG "save it as PNG"
#define SAVE_AS_JPEG "save it as JPEG, or as PNG"

/* Files that people have in the place of images, by their bytes at `at`. */
static const dram_signature others[] = {
    {0, 4, "GIF8", "a GIF: " SAVE_AS_PNG},
    {0, 2, "BM", "a BMP: " SAVE_AS_PNG},
    {0, 4, "II*\0", "a TIFF, or a camera's raw file: " SAVE_AS_PNG},
    {0, 4, "MM\0*", "a TIFF, or a camera's raw file: " SAVE_AS_PNG},
    {0, 4, "II+\0", "a BigTIFF: " SAVE_AS_PNG},
    {0, 4, "MM\0+", "a BigTIFF: " SAVE_AS_PNG},
    {4, 7, "ftypavi", "an AVIF: " SAVE_AS_JPEG},
    {4, 7, "ftyphei", "a HEIC photograph: " SAVE_AS_JPEG},
    {4, 7, "ftyphev", "a HEIC photograph: " SAVE_AS_JPEG},
    {4, 8, "ftypmif1", "a HEIF (HEIC or AVIF): " SAVE_AS_JPEG},
    {4, 8, "ftypmsf1", "a HEIF (HEIC or AVIF): " SAVE_AS_JPEG},
    {4, 4, "ftyp", "a video: save its frames as JPEG"},
    {0, 12, "\0\0\0\x0cJXL \x0d\x0a\x87\x0a", "a JPEG XL: " SAVE_AS_JPEG},
    {0, 2, "\xff\x0a", "a JPEG XL: " SAVE_AS_JPEG},
    {0, 12, "\0\0\0\x0cjP  \x0d\x0a\x87\x0a", "a JPEG 2000: " SAVE_AS_PNG},
    {0, 4, "\xff\x4f\xff\x51", "a JPEG 2000: " SAVE_AS_PNG},
    {0, 4, "8BPS", "a Photoshop file: " SAVE_AS_PNG},
    {0, 4, "v/1\1", "an OpenEXR file: " SAVE_AS_PNG},
    {0, 2, "P5", "a PGM: " SAVE_AS_PNG},
    {0, 2, "P6", "a PPM: " SAVE_AS_PNG},
    {0, 6, "\x93NUMPY", "a NumPy array: " SAVE_AS_PNG},
    {0, 4, "\x89HDF", "an HDF5 file: save its images as PNG"},
    {128, 4, "DICM", "a DICOM file: " SAVE_AS_PNG},
    {0, 4, "%PDF", "a PDF: save its pages as PNG"},
    {0, 4, "PK\3\4", "a zip archive: unpack it"},
    {0, 2, "\x1f\x8b", "compressed by gzip: unpack it"},
    {257, 5, "ustar", "a tar archive: unpack it"},
    DRAM_SIGNATURE_LFS,
};

/* What of the family of HTML it is, or NULL. */
static const char *markup(const uint8_t *bytes, size_t n)
{
    static const char *const words[] = {"<svg", "<?xml", "<!doctype", "<html", "<head"};
    int word = dram_signature_word(words, sizeof words / sizeof words[0], bytes, n);
    if (word == 0) return "an SVG drawing: " SAVE_AS_PNG;
    if (word == 1) return "XML, as a failed download leaves it: download the image itself";
    return word < 0 ? NULL : "a web page, as a failed download leaves it: download the image itself";
}

static bool all_zero(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i]) return false;
    return true;
}

static dram_status not_an_image(const dram_source *source)
{
    enum { HEAD = 64 };
    const uint8_t *bytes = source->bytes;
    size_t n = source->n;
    if (n == 0) return dram_bad_image(source, "the file is empty");
    const char *what = dram_signature_find(others, sizeof others / sizeof others[0], bytes, n);
    if (!what) what = markup(bytes, n);
    if (!what && n >= HEAD && all_zero(bytes, HEAD))
        what = "a file that begins with zeros, as one that was never written out: copy it again";
    if (!what) return dram_bad_image(source, "not a JPEG, PNG or WebP image");
    return dram_fail(DRAM_ERR_FORMAT, "%s: not a JPEG, PNG or WebP image but %s", source->name, what);
}

dram_status dram_image_format_of(const dram_source *source, const dram_image_format **out)
{
    static const dram_image_format jpeg = {"JPEG", dram_decode_jpeg, dram_look_jpeg};
    static const dram_image_format png = {"PNG", dram_decode_png, dram_look_png};
    static const dram_image_format webp = {"WebP", dram_decode_webp, dram_look_webp};
    const uint8_t *bytes = source->bytes;
    size_t n = source->n;
    *out = NULL;
    if (n >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) *out = &jpeg;
    if (n >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) *out = &png;
    if (n >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0) *out = &webp;
    return *out ? DRAM_OK : not_an_image(source);
}

/* ---- its header ---- */

dram_status dram_image_look(const uint8_t *bytes, size_t n, const char *name, dram_image_header *out)
{
    const dram_source source = {.bytes = bytes, .n = n, .name = name};
    const dram_image_format *format;
    *out = (dram_image_header){0};
    TRY(dram_image_format_of(&source, &format));
    dram_status status = format->look(&source, out);
    out->format = format->name;
    if (status != DRAM_OK) *out = (dram_image_header){0};
    return status;
}

int dram_range_bits(int peak, int range)
{
    enum { FAR_BELOW = 4 };
    int bits = 8;
    while (peak >> bits) bits++;
    return peak * FAR_BELOW <= range && (1 << bits) - 1 < range ? bits : 0;
}

bool dram_range_is_news(bool above)
{
    static atomic_flag said_below = ATOMIC_FLAG_INIT, said_above = ATOMIC_FLAG_INIT;
    return !atomic_flag_test_and_set(above ? &said_above : &said_below);
}
