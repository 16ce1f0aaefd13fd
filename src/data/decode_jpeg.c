/* JPEG to RGB by libjpeg-turbo: scaled by its DCT, its memory estimated from the markers before it is asked. */
#include <stdbool.h>
#include <string.h>
#include <turbojpeg.h>

#include "base/alloc.h"
#include "data/decode.h"
#include "data/downscale.h"

/* What the markers before the first scan say (ITU T.81, annex B). */
typedef struct {
    int height, width;
    int components;
    int h[4], v[4]; /* sampling factors */
    int bits;
    bool buffered; /* progressive, or several scans: libjpeg holds the coefficients of the whole image */
    const uint8_t *exif;
    size_t exif_n;
    size_t scan; /* where the first scan's header ends */
} jpeg_info;

static bool is_frame(int marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static bool read_frame(const uint8_t *segment, size_t n, int marker, jpeg_info *info)
{
    if (n < 6 || info->components) return false;
    info->bits = segment[0];
    info->height = segment[1] << 8 | segment[2];
    info->width = segment[3] << 8 | segment[4];
    info->components = segment[5];
    if (info->components < 1 || info->components > 4 || n < 6 + 3 * (size_t)info->components) return false;
    for (int c = 0; c < info->components; c++) {
        info->h[c] = segment[7 + 3 * c] >> 4;
        info->v[c] = segment[7 + 3 * c] & 15;
        if (info->h[c] < 1 || info->h[c] > 4 || info->v[c] < 1 || info->v[c] > 4) return false;
    }
    info->buffered = (marker & 3) == 2;
    return info->height > 0 && info->width > 0;
}

enum { MARKER_END = 0xd9, MARKER_SCAN = 0xda };

/* The marker from `at` on and its segment, as libjpeg finds them: bytes between segments, a scan's data among them, are
 * passed over. Returns it with *at behind its segment, or -1 where the file ends before. */
static int next_marker(const uint8_t *bytes, size_t n, size_t *at, const uint8_t **segment, size_t *size)
{
    for (size_t i = *at;;) {
        const uint8_t *found = i < n ? memchr(bytes + i, 0xff, n - i) : NULL;
        if (!found) return -1;
        i = (size_t)(found - bytes);
        while (i < n && bytes[i] == 0xff) i++;
        if (i >= n) return -1;
        int marker = bytes[i++];
        if (marker == 0 || marker == 1 || (marker >= 0xd0 && marker <= 0xd8)) continue;
        *at = i;
        if (marker == MARKER_END) return marker;
        if (n - i < 2) return -1;
        size_t length = (size_t)bytes[i] << 8 | bytes[i + 1];
        if (length < 2 || length > n - i) return -1;
        *segment = bytes + i + 2;
        *size = length - 2;
        *at = i + length;
        return marker;
    }
}

/* Reads the markers up to the first scan. */
static bool read_markers(const uint8_t *bytes, size_t n, jpeg_info *info)
{
    size_t at = 2, size;
    const uint8_t *segment;
    *info = (jpeg_info){0};
    for (;;) {
        int marker = next_marker(bytes, n, &at, &segment, &size);
        if (marker < 0 || marker == MARKER_END) return false;
        if (is_frame(marker)) {
            if (!read_frame(segment, size, marker, info)) return false;
        } else if (marker == 0xe1 && !info->exif && size > 6 && memcmp(segment, "Exif\0", 6) == 0) {
            info->exif = segment;
            info->exif_n = size;
        } else if (marker == MARKER_SCAN) {
            if (!info->components || size < 1) return false;
            if (segment[0] < info->components) info->buffered = true;
            info->scan = at;
            return true;
        }
    }
}

/* The header of a JPEG, and its orientation. */
static dram_status read_header(const dram_source *source, jpeg_info *info, int *orientation)
{
    *orientation = 1;
    if (!read_markers(source->bytes, source->n, info))
        return dram_bad_image(source, "damaged or truncated JPEG: no complete header");
    if (info->bits != 8)
        return dram_fail(DRAM_ERR_FORMAT, "%s: a JPEG of %d bits a sample, where 8 are read; save it as PNG",
                         source->name, info->bits);
    return info->exif ? dram_exif_orientation(info->exif, info->exif_n, orientation) : DRAM_OK;
}

dram_status dram_look_jpeg(const dram_source *source, dram_image_header *out)
{
    jpeg_info info;
    const uint8_t *segment;
    size_t size;
    int marker;
    TRY(read_header(source, &info, &out->orientation));
    out->height = info.height;
    out->width = info.width;
    out->bits = info.bits;
    do marker = next_marker(source->bytes, source->n, &info.scan, &segment, &size);
    while (marker >= 0 && marker != MARKER_END);
    return marker < 0 ? dram_bad_image(source, "truncated JPEG: it has no end") : DRAM_OK;
}

/* Bytes of libjpeg's own buffers: DCT coefficients (2 bytes each) of the whole image if the scans need it, whole MCUs
 * counted, and some rows. */
static int64_t library_bytes(const jpeg_info *info)
{
    int h = 1, v = 1;
    for (int c = 0; c < info->components; c++) {
        if (info->h[c] > h) h = info->h[c];
        if (info->v[c] > v) v = info->v[c];
    }
    int64_t columns = (info->width + 8 * h - 1) / (8 * h), rows = (info->height + 8 * v - 1) / (8 * v);
    int64_t bytes = 64 * (int64_t)info->width * info->components + 8 * (int64_t)info->height + 65536;
    for (int c = 0; c < info->components && info->buffered; c++)
        bytes += columns * info->h[c] * rows * info->v[c] * 64 * 2;
    return bytes;
}

/* The largest n/8 of at most 1 that keeps max_pixels, else the smallest there is. Factors come largest first. */
static tjscalingfactor pick_factor(int height, int width, int64_t max_pixels)
{
    int count = 0;
    const tjscalingfactor *factors = tjGetScalingFactors(&count);
    tjscalingfactor best = {1, 1};
    for (int i = 0; i < count; i++) {
        if (factors[i].num > factors[i].denom) continue;
        best = factors[i];
        if (max_pixels <= 0 || (int64_t)TJSCALED(height, best) * TJSCALED(width, best) <= max_pixels) break;
    }
    return best;
}

/* Adobe's CMYK stores 255 - ink, so that RGB = CMY * K / 255 (as Pillow reads it). In place: 4 bytes become 3. */
static void cmyk_to_rgb(uint8_t *pixels, size_t count)
{
    const uint8_t *in = pixels;
    for (size_t i = 0; i < count; i++, in += 4) {
        int k = in[3], rgb[3];
        for (int c = 0; c < 3; c++) rgb[c] = (in[c] * k + 127) / 255;
        for (int c = 0; c < 3; c++) pixels[3 * i + (size_t)c] = (uint8_t)rgb[c];
    }
}

static dram_status library_error(const dram_source *source, tjhandle handle)
{
    const char *text = tjGetErrorStr2(handle);
    if (strstr(text, "Insufficient memory") || strstr(text, "Memory allocation failure"))
        return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory while decoding", source->name);
    return dram_fail(DRAM_ERR_FORMAT, "%s: damaged or truncated JPEG: %s", source->name, text);
}

/* Header as libjpeg reads it; it must agree with what the memory was estimated from. */
static dram_status check_header(const dram_source *source, tjhandle handle, const jpeg_info *info)
{
    int width = 0, height = 0, subsampling = -1, colorspace = -1;
    int failed = tjDecompressHeader3(handle, source->bytes, (unsigned long)source->n, &width, &height, &subsampling,
                                     &colorspace);
    /* rare sampling factors have no name in this interface but do decode */
    if (failed && (width < 1 || colorspace < 0)) return library_error(source, handle);
    if (width != info->width || height != info->height)
        return dram_bad_image(source, "damaged JPEG: its frame header is not unique");
    return DRAM_OK;
}

static dram_status decode(const dram_source *source, tjhandle handle, const jpeg_info *info, dram_image *out)
{
    tjscalingfactor factor = pick_factor(info->height, info->width, source->rules.max_pixels);
    int h = TJSCALED(info->height, factor), w = TJSCALED(info->width, factor);
    int small_h, small_w, bytes_per_pixel = info->components == 4 ? 4 : 3;
    dram_downscaled_size(h, w, source->rules.max_pixels, &small_h, &small_w);
    bool shrink = small_h < h || small_w < w;
    size_t size = (size_t)h * (size_t)w * (size_t)bytes_per_pixel;
    int64_t small = (int64_t)small_h * small_w * 3;
    int64_t first = library_bytes(info) + (int64_t)size;
    int64_t second = shrink ? (int64_t)size + dram_downscale_bytes(small_w) : 0;
    int64_t turning = dram_turning_bytes(source, out, small);
    if (second < turning) second = turning;
    TRY(dram_check_memory(source, info->height, info->width, first > second ? first : second));

    out->pixels = dram_alloc(size);
    if (!out->pixels) return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory while decoding", source->name);
    int format = info->components == 4 ? TJPF_CMYK : TJPF_RGB;
    if (tjDecompress2(handle, source->bytes, (unsigned long)source->n, out->pixels, w, w * bytes_per_pixel, h, format,
                      TJFLAG_LIMITSCANS) != 0)
        return library_error(source, handle);
    if (format == TJPF_CMYK) cmyk_to_rgb(out->pixels, (size_t)h * (size_t)w);
    if (shrink) TRY(dram_downscale_in_place(out->pixels, h, w, small_h, small_w));
    if ((size_t)small < size) {
        uint8_t *less = dram_realloc(out->pixels, (size_t)small);
        if (less) out->pixels = less;
    }
    dram_image_sized(out, info->height, info->width, small_h, small_w);
    /* the last DCT block may reach past the image, so the decoded size is not the scale */
    out->scale_y = (double)factor.num / factor.denom * small_h / h;
    out->scale_x = (double)factor.num / factor.denom * small_w / w;
    return DRAM_OK;
}

dram_status dram_decode_jpeg(const dram_source *source, dram_image *out)
{
    jpeg_info info;
    dram_status status;
    TRY(read_header(source, &info, &out->orientation));
    tjhandle handle = tjInitDecompress();
    if (!handle) return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory while decoding", source->name);
    TRY_GOTO(check_header(source, handle, &info), done);
    TRY_GOTO(decode(source, handle, &info, out), done);
done:
    tjDestroy(handle);
    return status;
}
