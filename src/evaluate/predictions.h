/* predictions: what the task predicts, as a picture for every image of an evaluation.
 *
 * A picture has the image's own size, or that to which data.max_pixels brings it: the class of every pixel as a colour
 * laid half over the image. Void is left as it is: pixels that the image's label says are data.ignore_index, and those
 * predicted to be that class where it is one.
 */
#ifndef DRAM_EVALUATE_PREDICTIONS_H
#define DRAM_EVALUATE_PREDICTIONS_H

#include "base/tensor.h"
#include "config/config.h"
#include "data/loader.h"

typedef struct dram_predictions dram_predictions;

/* Makes the folder, for STEM.png of every image, FOLDER/STEM.png of those in folders. DRAM_ERR_CONFIG: there is no task;
 * the folder cannot be written to, is one that the config's images or labels are in, or lies where they are looked for;
 * two images of a folder have one stem. The dataset must outlive it. */
dram_status dram_predictions_open(const dram_config *cfg, const char *folder, const dram_dataset *dataset,
                                  dram_predictions **out);

/* Gets a picture's image and its PNG file, bytes [n]. */
typedef dram_status (*dram_predictions_shown)(void *context, const char *image, int height, int width, const void *png,
                                              size_t n);

/* No files: the first `most` images of the data set alone, with `pixels` pixels at most, are handed to `shown` as they are
 * evaluated. A failure of its is one of the evaluation. DRAM_ERR_CONFIG: there is no task. */
dram_status dram_predictions_show(const dram_config *cfg, const dram_dataset *dataset, int most, int64_t pixels,
                                  dram_predictions_shown shown, void *context, dram_predictions **out);

void dram_predictions_close(dram_predictions *predictions); /* NULL is allowed */

/* Writes or shows the picture of one image from its logits, shape [N,h,w,K], of which `logits` are this image's [h,w,K]. */
dram_status dram_predictions_write(const dram_predictions *predictions, const dram_config *cfg,
                                   const dram_sample *sample, const float *logits, const dram_shape *shape);

#endif
