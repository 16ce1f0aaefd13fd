/* survey: looks at the files of one or two data sets, as deep as data.check says, by several threads. Private to
 * src/check. */
#ifndef DRAM_CHECK_SURVEY_H
#define DRAM_CHECK_SURVEY_H

#include "check/check.h"
#include "check/facts.h"

enum { DRAM_TRAIN, DRAM_VAL, DRAM_SETS };      /* of a survey */
enum { DRAM_IMAGES, DRAM_LABELS, DRAM_KINDS }; /* of files */

typedef struct {
    const dram_dataset *dataset;         /* NULL: there is none, and the rest is empty */
    const char *folder[DRAM_KINDS];      /* as the config has it; of labels NULL: none is read */
    const dram_facts *facts[DRAM_KINDS]; /* [images]; of an image without a label: nothing */
    int known;                           /* files of which all that was wanted was kept */
} dram_surveyed;

typedef struct dram_survey dram_survey;

/* Looks, and keeps what was found; see dram_check_look for arguments and errors. */
dram_status dram_survey_open(const dram_config *cfg, const dram_dataset *const dataset[DRAM_SETS],
                             const dram_check_hooks *hooks, dram_survey **out);
void dram_survey_close(dram_survey *survey); /* NULL is allowed */

/* Valid until the survey is closed. */
const dram_surveyed *dram_survey_set(const dram_survey *survey, int set);

#endif
