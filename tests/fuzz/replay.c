/* Gives a fuzzing target the inputs that are in the repository, each once, without libFuzzer.
 * usage: replay_NAME FOLDER|FILE ... */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

static int replay_file(const char *path)
{
    FILE *in = fopen(path, "rb");
    if (!in || fseek(in, 0, SEEK_END) != 0) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    size_t n = (size_t)ftell(in);
    uint8_t *bytes = malloc(n ? n : 1); /* without room behind it, so that ASan sees a read beyond it */
    rewind(in);
    if (!bytes || fread(bytes, 1, n, in) != n) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    fclose(in);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(bytes, n);
    free(bytes);
    return 1;
}

static int replay_folder(const char *path)
{
    char file[4096];
    int n = 0;
    DIR *folder = opendir(path);
    if (!folder) {
        fprintf(stderr, "%s: cannot be opened\n", path);
        exit(1);
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        n += replay_file(file);
    }
    closedir(folder);
    return n;
}

int main(int argc, char **argv)
{
    struct stat info;
    int n = 0;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++)
        n += stat(argv[i], &info) == 0 && S_ISDIR(info.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i]);
    printf("%d inputs\n", n);
    return n ? 0 : 1;
}
