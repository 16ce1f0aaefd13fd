#include "page/thin.h"

#include <math.h>
#include <stdbool.h>

enum { FIRST, LEAST, GREATEST, LAST, MISSING, WRONG, KINDS };

static void note(int at[KINDS], const double *y, int i)
{
    if (isnan(y[i])) {
        if (at[MISSING] < 0) at[MISSING] = i;
    } else if (isinf(y[i])) {
        if (at[WRONG] < 0) at[WRONG] = i;
    } else {
        if (at[FIRST] < 0) at[FIRST] = i;
        if (at[LEAST] < 0 || y[i] < y[at[LEAST]]) at[LEAST] = i;
        if (at[GREATEST] < 0 || y[i] > y[at[GREATEST]]) at[GREATEST] = i;
        at[LAST] = i;
    }
}

/* The places of a column, rising and each once. */
static int put(int at[KINDS], int *keep)
{
    int n = 0;
    for (int k = 0; k < KINDS; k++) {
        int i = n;
        bool there = at[k] < 0;
        for (int j = 0; j < n; j++) there = there || keep[j] == at[k];
        if (there) continue;
        for (; i > 0 && keep[i - 1] > at[k]; i--) keep[i] = keep[i - 1];
        keep[i] = at[k];
        n++;
    }
    return n;
}

int dram_thin(const double *x, const double *y, int n, int columns, int *keep)
{
    int kept = 0;
    if (n <= columns) {
        for (int i = 0; i < n; i++) keep[i] = i;
        return n;
    }
    double width = (x[n - 1] - x[0]) / columns;
    for (int i = 0, column = 0; i < n; column++) {
        int at[KINDS] = {-1, -1, -1, -1, -1, -1};
        double end = x[0] + width * (column + 1);
        for (; i < n && (x[i] < end || column >= columns - 1); i++) note(at, y, i);
        kept += put(at, keep + kept);
    }
    return kept;
}

void dram_smooth(const double *x, const double *y, int n, const double *at, int n_at, double reach, double *mean)
{
    int first = 0;
    for (int k = 0; k < n_at; k++) {
        double sum = 0;
        int count = 0;
        while (first < n && x[first] < at[k] - reach) first++;
        for (int i = first; i < n && x[i] <= at[k] + reach; i++) {
            if (!isfinite(y[i])) continue;
            sum += y[i];
            count++;
        }
        mean[k] = count ? sum / count : NAN;
    }
}
