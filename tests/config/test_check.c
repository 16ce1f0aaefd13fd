/* Settings that contradict each other, settings this version cannot do, and the inputs of a run. */
#include "config/helpers.h"

typedef struct {
    const char *yaml, *error;
} bad_file;

#define TASK "task: {enabled: true}\n"

static void contradictions_are_named(void **state)
{
    (void)state;
    static const bad_file cases[] = {
        {"sam_distill: {enabled: false}\n", "c.yaml:1:24: sam_distill.enabled: there is no loss to train on; enable "
                                            "sam_distill, resolution_distill or task"},
        {TASK "data: {train: {images: i, labels: l}}\n",
         "c.yaml:1:17: task.enabled: the task needs 2 classes or more; set data.classes (it is 0)"},
        {TASK "data: {train: {images: i, labels: l}, classes: 1}\n",
         "c.yaml:1:17: task.enabled: the task needs 2 classes or more; set data.classes (it is 1)"},
        {"data: {train: {labels: l}}\n", "c.yaml:1:24: data.train.labels: there are labels but no images; set "
                                         "data.train.images"},
        {"data: {val: {labels: l}}\n", "c.yaml:1:22: data.val.labels: there are labels but no images; set "
                                       "data.val.images"},
        {"data: {augment: {scale_min: 3}}\n", "c.yaml:1:29: data.augment.scale_min: 3 is larger than "
                                              "data.augment.scale_max, 2"},
        {"optim: {warmup_steps: 11}\ntrain: {steps: 10}\n", "c.yaml:1:23: optim.warmup_steps: 11 is more than "
                                                            "train.steps, 10; lower it"},
        {"train: {batch_size: 8, accumulate: 3}\n", "c.yaml:1:36: train.accumulate: 3 does not divide "
                                                    "train.batch_size, 8"},
        {"sam_distill: {distill_interval: 2}\n", "c.yaml:1:33: sam_distill.distill_interval: there is nothing to learn "
                                                 "from on the steps in between; enable task "
                                                 "or resolution_distill, or set sam_distill.between to reuse"},
        {"sam_distill: {distill_interval: {0: 1, 10: 2}}\n",
         "c.yaml:1:33: sam_distill.distill_interval: there is nothing to learn "
         "from on the steps in between; enable task "
         "or resolution_distill, or set sam_distill.between to reuse"},
        {"sam_distill: {between: reuse, distill_interval: 2, loss: {scale_with_interval: true}}\n",
         "c.yaml:1:80: sam_distill.loss.scale_with_interval: with sam_distill.between: reuse every step has the "
         "teacher's loss; set one of the two"},
        {"sam_distill: {cache: some/dir}\n",
         "c.yaml:1:22: sam_distill.cache: it keeps one embedding an image, and a random crop shows the teacher another "
         "part of it at every step; set data.augment.crop to false"},
        {"sam_distill: {cache: some/dir}\ndata: {augment: {crop: false}}\n",
         "c.yaml:1:22: sam_distill.cache: it keeps one embedding an image, and color jitter shows the teacher other "
         "colours at every step; set data.augment.color_jitter to 0"},
        {"sam_distill: {cache: some/dir}\ndata: {augment: {crop: false, color_jitter: 0, blur: 0.1}}\n",
         "c.yaml:1:22: sam_distill.cache: it keeps one embedding an image, and hue, gray, blur and cutout show the "
         "teacher "
         "other pixels at every step; set these keys of data.augment to 0"},
        {"sam_distill: {sam_input_size: 512, pad_to: 256}\n", "c.yaml:1:44: sam_distill.pad_to: 256 is smaller than "
                                                              "sam_distill.sam_input_size, 512"},
        {"resolution_distill: {enabled: true, sr_target_scale: 2.5}\n",
         "c.yaml:1:54: resolution_distill.sr_target_scale: 2.5 times low_scale, 0.5, is more than the full image; it "
         "may "
         "be 2 at most"},
        {"resolution_distill: {enabled: true, low_scale: 0.25}\ndata: {size: 96}\n",
         "c.yaml:1:48: resolution_distill.low_scale: 0.25 times data.size, 96, is less than the 32 pixels a student "
         "needs"},
        {"sam_distill: {loss: {add: {mse: 0.5}}}\n", "c.yaml:1:33: sam_distill.loss.add.mse: mse is "
                                                     "sam_distill.loss.type already, with weight 1; set this to 0, or "
                                                     "type to another distance"},
        {"sam_distill:\n  loss: {type: cwd, add: {mse: 1, cwd: 2}}\n",
         "c.yaml:2:40: sam_distill.loss.add.cwd: cwd is sam_distill.loss.type already, with weight 1; set this to 0, "
         "or "
         "type to another distance"},
        {"optim: {fused: on, clip_norm: 0}\ntrain: {precision: fp16}\n",
         "c.yaml:1:16: optim.fused: under train.precision fp16 no weight may change before all gradients are known to "
         "be "
         "finite; take bf16, or set optim.fused to auto or off"},
        {"optim: {fused: on, clip_norm: 0}\ntrain: {batch_size: 4, accumulate: 2}\n",
         "c.yaml:1:16: optim.fused: with train.accumulate 2 the gradients are summed first; set it to 1, or set "
         "optim.fused to auto or off"},
        {"optim: {fused: on}\n", "c.yaml:1:16: optim.fused: clipping to optim.clip_norm, 1, needs the norm of all "
                                 "gradients first; set it to 0, or "
                                 "set optim.fused to auto or off"},
        {"student: {trainable: heads, weights: w}\nresolution_distill: {enabled: true}\n",
         "c.yaml:1:22: student.trainable: resolution_distill trains the trunk, which heads leaves as it is, and a head "
         "that no export has; set resolution_distill.enabled to false, or this to all"},
        {"student: {trainable: heads}\n",
         "c.yaml:1:22: student.trainable: heads leaves the trunk as it is in student.weights, and that is none: random "
         "numbers would stay what they are; set student.weights to a trained trunk, the student.safetensors of a run "
         "say, or this to all"},
        {"student: {trainable: heads, weights: w}\nsam_distill: {enabled: false}\n",
         "c.yaml:2:24: sam_distill.enabled: there is no loss to train on; enable sam_distill, resolution_distill or "
         "task"},
        {"student: {trainable: head}\n",
         "c.yaml:1:22: student.trainable: unknown value, did you mean heads? It may be: all, heads"},
        {"optim: {type: sgd, state: int8}\n",
         "c.yaml:1:27: optim.state: only adamw has a state of 8 bits; set optim.type "
         "to adamw, or optim.state to fp32"},
        {"sam_distill: {teacher: {group: 3}}\ntrain: {batch_size: 4, accumulate: 2}\n",
         "c.yaml:1:32: sam_distill.teacher.group: 3 is more than the micro-batch, 2"},
        {"sam_distill: {teacher: {group: 3}}\n", "c.yaml:1:32: sam_distill.teacher.group: 3 does not divide the "
                                                 "micro-batch, 8"},
        {"memory: {eager_free: false, budget: auto}\n", "c.yaml:1:22: memory.eager_free: without it every value is "
                                                        "kept, which only serves to measure; set it to true, or "
                                                        "memory.budget to none"},
        {"name: a/b\n", "c.yaml:1:7: name: names a folder inside run.dir: at most 200 characters, no / among them"},
        {"name: ..\n", "c.yaml:1:7: name: names a folder inside run.dir: at most 200 characters, no / among them"},
    };
    for (int i = 0; i < COUNT(cases); i++) expect_bad_file(cases[i].yaml, cases[i].error);
}

/* The neighbours of the contradictions: each of these is allowed. */
static void what_is_just_right_is_taken(void **state)
{
    (void)state;
    static const char *const good[] = {
        "sam_distill: {enabled: false}\nresolution_distill: {enabled: true}\n",
        "sam_distill: {enabled: false}\n" TASK "data: {train: {images: i, labels: l}, classes: 2}\n",
        "sam_distill: {distill_interval: 2}\nresolution_distill: {enabled: true, sr_target_scale: 2.0}\n",
        "sam_distill: {distill_interval: 2, enabled: false}\nresolution_distill: {enabled: true}\n",
        "sam_distill: {distill_interval: 2, between: reuse}\n",
        "sam_distill: {distill_interval: {0: 1, 100: 4}}\nresolution_distill: {enabled: true}\n",
        "sam_distill: {distill_interval: {0: 1, 100: 1}}\n",
        "sam_distill: {sam_input_size: 512, pad_to: 1024}\n",
        "sam_distill: {sam_input_size: 512, pad_to: 512}\n",
        "sam_distill: {cache: some/dir, cache_format: int8}\n"
        "data: {augment: {crop: false, color_jitter: 0, flip: 1}}\n",
        "sam_distill: {cache: some/dir, enabled: false}\nresolution_distill: {enabled: true}\n",
        "sam_distill: {loss: {scale_with_interval: true}}\n",
        "sam_distill: {loss: {type: cwd, temperature: 4, standardize: true, add: {mse: 1, cosine: 0.5, huber: 2}}}\n",
        "sam_distill: {loss: {type: cwd, temperature: 100, add: {cwd: 0.0}}}\n",
        "sam_distill: {enabled: false, loss: {add: {mse: 1}}}\nresolution_distill: {enabled: true}\n",
        "resolution_distill: {enabled: true, standardize: true}\n",
        "optim: {warmup_steps: 10}\ntrain: {steps: 10}\n",
        "train: {steps: 10}\n", /* the default of warmup_steps, 100, follows */
        "data: {augment: {scale_min: 2}}\n",
        "resolution_distill: {enabled: true, low_scale: 0.25}\ndata: {size: 128}\n",
        "memory: {budget: auto}\n",
        "memory: {eager_free: false}\n",
        "memory: {checkpoint: optimal, may_change: [precision, model_type]}\n",
        "train: {batch_size: 9, accumulate: 3}\n",
        "train: {precision: bf16}\noptim: {fused: on, clip_norm: 0, state: int8}\n",
        "train: {precision: fp16}\noptim: {fused: auto, clip_norm: 0}\n",
        "optim: {type: sgd, fused: on, clip_norm: 0.0}\n",
        "sam_distill: {teacher: {group: 2, precision: bf16, placement: stream}}\ntrain: {batch_size: 8, accumulate: "
        "4}\n",
        "sam_distill: {enabled: false, teacher: {group: 3}}\nresolution_distill: {enabled: true}\n",
        "device: cpu\n",
        "device: cuda\ncuda: {graph: false}\n",
    };
    for (int i = 0; i < COUNT(good); i++) {
        write_to("c.yaml", good[i]);
        dram_config_free(load("c.yaml", NULL, 0));
    }
}

static void expect_bad_inputs(const char *yaml, bool training, const char *error)
{
    write_to("c.yaml", yaml);
    dram_config *cfg = load("c.yaml", NULL, 0);
    assert_int_equal(dram_config_check_inputs(cfg, training), DRAM_ERR_CONFIG);
    assert_string_equal(dram_error_text(), error);
    dram_error_clear();
    dram_config_free(cfg);
}

static void inputs_of_a_run_must_be_there(void **state)
{
    (void)state;
    char error[PATH_MAX + 200];
    assert_int_equal(mkdir("images", 0777), 0);
    expect_bad_inputs("sam_distill: {teacher: {weights: random}}\n", true,
                      "c.yaml: data.train.images: training needs a folder of images; name one");
    expect_bad_inputs(TASK "data: {train: {images: images}, classes: 3}\n", true,
                      "c.yaml:1:17: task.enabled: the task learns from labels; set data.train.labels");
    expect_bad_inputs("data: {train: {images: images}}\n", true,
                      "c.yaml: sam_distill.teacher.weights: the teacher needs weights; name a file of weights, or say "
                      "random");
    snprintf(error, sizeof error, "c.yaml:1:24: data.train.images: %s/absent: No such file or directory", test_folder);
    expect_bad_inputs("data: {train: {images: absent}}\nsam_distill: {teacher: {weights: random}}\n", true, error);
    snprintf(error, sizeof error,
             "c.yaml:2:35: sam_distill.teacher.weights: %s/w.safetensors: No such file or directory", test_folder);
    expect_bad_inputs("data: {train: {images: images}}\nsam_distill: {teacher: { weights: w.safetensors}}\n", true,
                      error);

    expect_bad_inputs("sam_distill: {teacher: {weights: random}}\n", false,
                      "c.yaml: data.val.images: evaluation needs a folder of images; name one");

    /* Paths of a part that is switched off are not looked at. */
    write_to("c.yaml", "data: {train: {images: images, labels: absent}}\n"
                       "sam_distill: {enabled: false, teacher: {weights: absent}}\n"
                       "resolution_distill: {enabled: true}\n");
    dram_config *cfg = load("c.yaml", NULL, 0);
    assert_int_equal(dram_config_check_inputs(cfg, true), DRAM_OK);
    dram_config_free(cfg);

    /* An evaluation does not need what the training was given, nor that it was. */
    write_to("c.yaml",
             TASK "data: {classes: 3, val: {images: images, labels: images}}\nsam_distill: {enabled: false}\n");
    cfg = load("c.yaml", NULL, 0);
    assert_int_equal(dram_config_check_inputs(cfg, false), DRAM_OK);
    dram_config_free(cfg);
    write_to("c.yaml", "data: {train: {images: absent}, val: {images: images}}\nstudent: {weights: absent}\n"
                       "sam_distill: {teacher: {weights: random}}\n");
    cfg = load("c.yaml", NULL, 0);
    assert_int_equal(dram_config_check_inputs(cfg, false), DRAM_OK);
    assert_int_equal(dram_config_check_inputs(cfg, true), DRAM_ERR_CONFIG);
    dram_error_clear();
    dram_config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contradictions_are_named),
        cmocka_unit_test(what_is_just_right_is_taken),
        cmocka_unit_test(inputs_of_a_run_must_be_there),
    };
    return cmocka_run_group_tests(tests, enter_test_folder, leave_test_folder);
}
