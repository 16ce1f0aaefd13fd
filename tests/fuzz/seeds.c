/* Makes the binary inputs of tests/fuzz/corpus, of small files of each kind.
 *     cmake --build build/release --target fuzz_seeds && build/release/tests/fuzz_seeds tests/fuzz/corpus */
#include <sys/stat.h>
#include <zlib.h>

#include "fuzz/fuzz.h"

#define assert_true must
#define assert_non_null must
#define assert_int_equal(A, B) must((A) == (B))
#define fail_msg(TEXT) must(!TEXT)
#include "data/encode.h"
#include "io/pth.h"

static const char *corpus;

static void save(const char *folder, const char *name, blob b)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", corpus, folder);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", corpus, folder, name);
    FILE *out = fopen(path, "wb");
    must(out && fwrite(b.bytes, 1, b.n, out) == b.n && fclose(out) == 0);
    free(b.bytes);
}

static void exif(void)
{
    /* two entries, the orientation the second, and a thumbnail's folder behind it */
    static const uint8_t longer[] =
        "MM\0*\0\0\0\10\0\2\1\17\0\2\0\0\0\4dram\1\22\0\3\0\0\0\1\0\3\0\0\0\0\0\46\0\0\0\0\0\0";
    uint8_t block[26];
    tiff_orientation(block, 6, false);
    save("exif", "little", blob_of(block, sizeof block));
    tiff_orientation(block, 3, true);
    save("exif", "big", blob_of(block, sizeof block));
    save("exif", "longer", blob_of(longer, sizeof longer - 1));
    save("exif", "named", blob_insert(blob_of(block, sizeof block), 0, "Exif\0", 6));
}

static void jpeg(void)
{
    enum { H = 12, W = 20 };
    uint8_t *ramp = ramp_image(48, 64), *cmyk = noise_bytes(8 * 8 * 4, 1);
    save("jpeg", "420", encode_jpeg(ramp, H, W, 0, TJPF_RGB, TJSAMP_420, 0));
    save("jpeg", "progressive", encode_jpeg(ramp, H, W, 0, TJPF_RGB, TJSAMP_444, TJFLAG_PROGRESSIVE));
    save("jpeg", "grey", encode_jpeg(ramp, H, W, 0, TJPF_GRAY, TJSAMP_GRAY, 0));
    save("jpeg", "cmyk", encode_jpeg(cmyk, 8, 8, 0, TJPF_CMYK, TJSAMP_444, 0));
    save("jpeg", "large", encode_jpeg(ramp, 48, 64, 0, TJPF_RGB, TJSAMP_420, 0));
    save("jpeg", "turned", jpeg_with_orientation(encode_jpeg(ramp, H, W, 0, TJPF_RGB, TJSAMP_422, 0), 6, false));
    /* one brightness, which is short, of a size that its DCT alone does not scale down enough */
    memset(ramp, 90, 48 * 64 * 3);
    save("jpeg", "huge", encode_jpeg(ramp, 248, 248, 1, TJPF_GRAY, TJSAMP_GRAY, 0));
    free(ramp);
    free(cmyk);
}

/* A text of n letters, compressed. */
static blob with_text(blob png, size_t n)
{
    static const char head[] = "Comment\0"; /* its name, and how it is compressed */
    uint8_t text[512], *letters = malloc(n);
    uLongf packed = sizeof text - sizeof head;
    must(letters);
    memset(letters, 'a', n);
    memcpy(text, head, sizeof head);
    must(compress2(text + sizeof head, &packed, letters, n, 9) == Z_OK);
    free(letters);
    return png_insert(png, png_front(), "zTXt", text, sizeof head + packed);
}

static void png(void)
{
    enum { H = 6, W = 10 };
    uint8_t *ramp = ramp_image(40, 48), *ids = noise_bytes(40 * 6, 3);
    struct spng_plte palette = {.n_entries = 4, .entries = {{255, 0, 0, 0}, {0, 255, 0, 0}, {0, 0, 255, 0}}};
    for (int i = 0; i < H * W; i++) ids[i] %= 4;
    save("png", "rgb", encode_png(ramp, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL));
    save("png", "rgba-16", encode_png(ramp, H * W * 8, H, W, 16, SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, false, NULL));
    save("png", "grey-16-interlaced", encode_png(ramp, H * W * 2, H, W, 16, SPNG_COLOR_TYPE_GRAYSCALE, true, NULL));
    save("png", "large", encode_png(ramp, 40 * 6, 40, 48, 1, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL));
    save("png", "large-interlaced", encode_png(ids, 40 * 6, 40, 48, 1, SPNG_COLOR_TYPE_GRAYSCALE, true, NULL));
    save("png", "palette-4", encode_png(ids, H * W / 2, H, W, 4, SPNG_COLOR_TYPE_INDEXED, false, &palette));
    save("png", "ids", encode_png(ids, H * W, H, W, 8, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL));
    save("png", "ids-2-interlaced", encode_png(ids, H * 3, H, W, 2, SPNG_COLOR_TYPE_GRAYSCALE, true, NULL));
    save("png", "turned",
         png_with_orientation(encode_png(ids, H * W, H, W, 8, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL), 8, true, false));
    save("png", "text", with_text(encode_png(ids, H * W, H, W, 8, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL), 40));
    save("png", "large-text",
         with_text(encode_png(ids, H * W, H, W, 8, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL), 300000));
    free(ramp);
    free(ids);
}

static void webp(void)
{
    enum { H = 12, W = 20 };
    uint8_t *ramp = ramp_image(48, 64), *rgba = noise_bytes(6 * 6 * 4, 2);
    save("webp", "lossy", encode_webp(ramp, H, W, 3, 60));
    save("webp", "lossless", encode_webp(ramp, H, W, 3, -1));
    save("webp", "alpha", encode_webp(rgba, 6, 6, 4, 50));
    save("webp", "lossless-alpha", encode_webp(rgba, 6, 6, 4, -1));
    save("webp", "large", encode_webp(ramp, 48, 64, 3, 40));
    save("webp", "turned", webp_with_orientation(encode_webp(ramp, H, W, 3, 60), H, W, 5));
    free(ramp);
    free(rgba);
}

static void safetensors(void)
{
    static const char three[] = "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],"
                                "\"data_offsets\":[0,8]},\"module.b\":{\"dtype\":\"BF16\",\"shape\":[2],"
                                "\"data_offsets\":[8,12]},\"c\":{\"dtype\":\"I64\",\"shape\":[],"
                                "\"data_offsets\":[12,20]}}\0abcdefghijklmnopqrst";
    static const char half[] = "{\"module.x\":{\"dtype\":\"F16\",\"shape\":[3,0],\"data_offsets\":[0,0]},"
                               "\"module.y\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}  \0abcd";
    save("safetensors", "three", blob_of(three, sizeof three - 1));
    save("safetensors", "half", blob_of(half, sizeof half - 1));
}

/* Files of one tensor, as torch.save writes them. */
static void torch(void)
{
    static const float numbers[6] = {0, 1, 2, 3, 4, 5};
    const pth_tensor t = {.type = "FloatStorage", .key = "0", .items = 6, .rank = 2, .dim = {2, 3}, .stride = {3, 1}};
    byte_buffer b = {0}, plain = {0}, long_ones = {0};
    pickle(&b, "\x80\2}(%t", "w");
    pickle_tensor(&b, &t);
    pickle(&b, "u.");
    const zip_member m[] = {{.name = "x/data.pkl", .data = b.at, .size = b.n},
                            {.name = "x/byteorder", .data = "little", .size = 6},
                            {.name = "x/data/0", .data = numbers, .size = sizeof numbers}};
    zip(&plain, m, 3, 0);
    zip(&long_ones, m, 3, ZIP64);
    save("torch", "small.pkl", blob_of(b.at, b.n));
    save("torch", "small.pth", blob_of(plain.at, plain.n));
    save("torch", "small-64.pth", blob_of(long_ones.at, long_ones.n));
    free(b.at);
    free(plain.at);
    free(long_ones.at);
}

/* Records of tests/fuzz/io/cache.c: all of their headers is put right but for key and state, one digit each. */
static void cache_records(const char *name, const char *facts, const char *keys, const char *states, size_t cut)
{
    uint8_t bytes[1024] = {1};
    size_t n = 1, records = strlen(keys);
    if (facts) {
        bytes[0] = 2;
        n += strlen(strcpy((char *)bytes + 1, facts)) + 1;
    }
    for (size_t i = 0; i < records; i++, n += 129) {
        bytes[n] = 127;
        bytes[n + 9] = (uint8_t)(keys[i] - '0');
        bytes[n + 49] = (uint8_t)(states[i] - '0');
        memset(bytes + n + 65, keys[i], 64);
    }
    save("cache", name, blob_of(bytes, n - cut));
}

static void cache(void)
{
    static const char facts[] = "{\"version\":1,\"teacher\":\"random:1\",\"sam_input_size\":512}";
    cache_records("three", NULL, "123", "222", 0);
    cache_records("states", NULL, "123", "321", 0);
    cache_records("twice", NULL, "112", "222", 0);
    cache_records("cut", NULL, "12", "22", 30);
    cache_records("cut-header", NULL, "12", "22", 100);
    cache_records("facts", facts, "1", "2", 0);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_seeds FOLDER\n");
        return 2;
    }
    corpus = argv[1];
    exif();
    jpeg();
    png();
    webp();
    safetensors();
    torch();
    cache();
    return 0;
}
