/* crash_image.h - what a power cut could have left of the files that fault_vfs recorded.
 * Owner: one test thread. Needs: fault_vfs. */
#ifndef TESTS_SUPPORT_CRASH_IMAGE_H
#define TESTS_SUPPORT_CRASH_IMAGE_H

#include "tests/support/fault_vfs.h"

/* What becomes of the writes that no sync covered. */
enum crash_variant {
	CRASH_KEPT,
	CRASH_DROPPED,
	CRASH_SUBSET, /* each one is kept, dropped or torn by the seed */
	CRASH_TORN,   /* all kept, but the last one is cut at a sector */
	CRASH_VARIANT_COUNT
};
const char *crash_variant_text(enum crash_variant v);

struct crash_disk;

/* A run that was recorded, cut at its events. */
struct crash_cuts {
	const char *dir;   /* where the images are laid out */
	size_t first;      /* event */
	unsigned variants; /* bit v: enum crash_variant */
	int images_max;    /* beyond it some are chosen, always the same; 0: all. All too with
			      TIDEGATE_FAULT_ALL=1 in the environment */
	/* At each VFS_MARK; may be NULL. True: what is expected has changed. */
	bool (*learn)(const struct vfs_event *mark);
	/* The image is laid out. Fails the test with `what` where it is not as it should be. */
	void (*check)(const char *what);
};
enum { CRASH_ALL_VARIANTS = (1 << CRASH_VARIANT_COUNT) - 1 };
/* Equal images of which the same is expected are checked once. Returns how many were checked. */
int crash_cut_everywhere(const struct crash_cuts *c);

/* A disk with nothing on it. */
struct crash_disk *crash_disk_new(void);
void crash_disk_free(struct crash_disk *d);
/* Apply the log's next event. */
void crash_disk_advance(struct crash_disk *d, const struct vfs_event *event);
/* Cut the power at this point. The image lives until the next cut. Returns a hash of the content:
 * equal images have equal ones. */
uint64_t crash_disk_cut(struct crash_disk *d, enum crash_variant v, uint64_t seed);
/* Make dir hold the files of the last cut, and nothing else. */
void crash_disk_write(const struct crash_disk *d, const char *dir);

#endif
