/* The one tag of EXIF that changes an image: its orientation (decode.h). */
#include <libexif/exif-data.h>
#include <string.h>

#include "base/alloc.h"
#include "data/decode.h"

/* IFD 0 comes first; a block behind it (a thumbnail, a maker's note) is not needed for one tag of it. */
enum { EXIF_ENOUGH = 65535 - 6 };

dram_status dram_exif_orientation(const uint8_t *exif, size_t n, int *orientation)
{
    static const uint8_t header[6] = "Exif\0";
    dram_status status = DRAM_OK;
    *orientation = 1;
    if (n >= sizeof header && memcmp(exif, header, sizeof header) == 0) {
        exif += sizeof header;
        n -= sizeof header;
    }
    if (n > EXIF_ENOUGH) n = EXIF_ENOUGH;
    uint8_t *block = dram_alloc(sizeof header + n);
    ExifData *data = exif_data_new();
    if (!block || !data) {
        status = dram_fail(DRAM_ERR_MEMORY, "out of host memory while reading EXIF");
        goto done;
    }
    memcpy(block, header, sizeof header);
    memcpy(block + sizeof header, exif, n);
    exif_data_unset_option(data, EXIF_DATA_OPTION_FOLLOW_SPECIFICATION); /* it would rewrite the entries */
    exif_data_load_data(data, block, (unsigned)(sizeof header + n));
    ExifEntry *entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
    if (entry && entry->format == EXIF_FORMAT_SHORT && entry->components == 1 && entry->size >= 2) {
        int value = exif_get_short(entry->data, exif_data_get_byte_order(data));
        if (value >= 1 && value <= 8) *orientation = value;
    }
done:
    if (data) exif_data_unref(data);
    dram_free(block);
    return status;
}
