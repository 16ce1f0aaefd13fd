/* WebP to RGB by libwebp, which scales while it decodes. */
#include <string.h>
#include <webp/decode.h>

#include "base/alloc.h"
#include "data/decode.h"
#include "data/downscale.h"

static dram_status webp_error(const dram_source *source, VP8StatusCode code)
{
    switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY:
        return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory while decoding", source->name);
    case VP8_STATUS_NOT_ENOUGH_DATA:
        return dram_bad_image(source, "truncated WebP");
    default:
        return dram_bad_image(source, "damaged WebP");
    }
}

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The EXIF chunk of the container (RIFF: four letters, little-endian size, data padded to even). */
static dram_status find_orientation(const uint8_t *bytes, size_t n, int *orientation)
{
    size_t at = 12;
    while (at < n && n - at >= 8) {
        size_t size = read_u32(bytes + at + 4);
        if (size > n - at - 8) break;
        if (memcmp(bytes + at, "EXIF", 4) == 0) return dram_exif_orientation(bytes + at + 8, size, orientation);
        at += 8 + size + (size & 1);
    }
    *orientation = 1;
    return DRAM_OK;
}

/* Bytes of libwebp's own buffers: lossless holds the whole image as ARGB, a lossy one a few rows and its alpha
 * twice. */
static int64_t library_bytes(const WebPBitstreamFeatures *features)
{
    int64_t pixels = (int64_t)features->width * features->height;
    int64_t rows = 256 * (int64_t)features->width + (1 << 20);
    if (features->format == 1) return rows + (features->has_alpha ? 2 * pixels : 0);
    return rows + 4 * pixels;
}

static dram_status read_header(const dram_source *source, WebPBitstreamFeatures *features, int *orientation)
{
    VP8StatusCode code = WebPGetFeatures(source->bytes, source->n, features);
    if (code != VP8_STATUS_OK) return webp_error(source, code);
    if (features->has_animation) return dram_bad_image(source, "animated WebP; a still image is needed");
    return find_orientation(source->bytes, source->n, orientation);
}

dram_status dram_look_webp(const dram_source *source, dram_image_header *out)
{
    WebPBitstreamFeatures features;
    TRY(read_header(source, &features, &out->orientation));
    out->height = features.height;
    out->width = features.width;
    out->bits = 8;
    bool whole = read_u32(source->bytes + 4) <= source->n - 8; /* of its container, and so libwebp asks */
    return whole ? DRAM_OK : webp_error(source, VP8_STATUS_NOT_ENOUGH_DATA);
}

dram_status dram_decode_webp(const dram_source *source, dram_image *out)
{
    WebPDecoderConfig config;
    int h, w;
    if (!WebPInitDecoderConfig(&config)) return dram_fail(DRAM_ERR_INTERNAL, "libwebp of another version");
    TRY(read_header(source, &config.input, &out->orientation));
    dram_downscaled_size(config.input.height, config.input.width, source->rules.max_pixels, &h, &w);
    size_t size = (size_t)h * (size_t)w * 3;
    int64_t first = (int64_t)size + library_bytes(&config.input);
    int64_t second = dram_turning_bytes(source, out, (int64_t)size);
    TRY(dram_check_memory(source, config.input.height, config.input.width, first > second ? first : second));
    out->pixels = dram_alloc(size);
    if (!out->pixels) return webp_error(source, VP8_STATUS_OUT_OF_MEMORY);
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = out->pixels;
    config.output.u.RGBA.stride = w * 3;
    config.output.u.RGBA.size = size;
    config.options.use_scaling = h != config.input.height || w != config.input.width;
    config.options.scaled_height = h;
    config.options.scaled_width = w;
    VP8StatusCode code = WebPDecode(source->bytes, source->n, &config);
    WebPFreeDecBuffer(&config.output);
    if (code != VP8_STATUS_OK) return webp_error(source, code);
    dram_image_sized(out, config.input.height, config.input.width, h, w);
    return DRAM_OK;
}
