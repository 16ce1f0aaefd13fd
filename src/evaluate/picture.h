/* picture: PNG files for a person to look at. They say that dram made them, and take the place of nothing that does not:
 * not of a file of another's, of a link or of what it leads to. */
#ifndef DRAM_EVALUATE_PICTURE_H
#define DRAM_EVALUATE_PICTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Makes the folders that a picture's path names behind its first `top` bytes, a folder that is there. DRAM_ERR_CONFIG:
 * something else has the name of one, a link among them; or it cannot be made. */
dram_status dram_picture_folders(const char *path, size_t top);

/* DRAM_ERR_CONFIG: something else has the picture's name. */
dram_status dram_picture_check(const char *path);

/* Checks, and writes rgb [height,width,3]: the picture is there whole, or what was there before is. */
dram_status dram_picture_write(const char *path, const uint8_t *rgb, int height, int width);

#endif
