/* thin: fewer points of a long series, of which a line shows the same. */
#ifndef DRAM_PAGE_THIN_H
#define DRAM_PAGE_THIN_H

/* Of n points, x rising, picks those that a chart of `columns` columns needs: of each column the first, the least, the
 * greatest and the last, and the first point of each kind that has no number (y NaN, y an infinity). So no peak and no
 * gap is lost, and at most 6 points a column are left; n points or fewer in as many columns are all kept. keep[n] gets
 * their places, rising; returns how many. */
int dram_thin(const double *x, const double *y, int n, int columns, int *keep);

/* The mean of y over the points whose x is within `reach` of at[i], on both sides, into mean[n_at]: of finite y alone;
 * NAN where there is none. x and at rise. */
void dram_smooth(const double *x, const double *y, int n, const double *at, int n_at, double reach, double *mean);

#endif
