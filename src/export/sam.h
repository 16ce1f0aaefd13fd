/* sam: a SAM checkpoint with the student in the place of its image encoder.
 *
 * One safetensors file: the student and its neck, and the prompt encoder and mask decoder of another file of a SAM, bit
 * for bit. Names are those of the decoder's file, Meta's or Hugging Face's, so that load_state_dict takes it strictly
 * where the model's encoder was replaced by the student:
 *
 *     Meta's                      Hugging Face's
 *     image_encoder.*             vision_encoder.*             a ViT student: SAM's own names
 *     image_encoder.trunk.*       vision_encoder.trunk.*       any other: timm's names
 *     image_encoder.neck.*        vision_encoder.neck.*        and dram's of its neck
 *     prompt_encoder.*            prompt_encoder.*, shared_image_embedding.*
 *     mask_decoder.*              mask_decoder.*
 */
#ifndef DRAM_EXPORT_SAM_H
#define DRAM_EXPORT_SAM_H

#include "export/export.h"

/* decoder: the file whose prompt encoder and mask decoder are taken, safetensors or of torch.save; NULL: the teacher's
 * of the config. Written through a temporary name; tensors pass through a small buffer. The student is stored as
 * run.export says. Says (dram_warn) where the losses leave open on which scale the student's embedding is,
 * and where the teacher's file of a run is another than the run began with, with both hashes.
 * DRAM_ERR_CONFIG: something has the name already; there is no teacher or no file of it; the student has no neck, or
 * learned from no teacher. DRAM_ERR_FORMAT: the file has no decoder of SAM, or a part of one. DRAM_ERR_IO: the disk is
 * full, say. */
dram_status dram_export_sam(dram_export *e, const char *decoder, const char *file);

#endif
