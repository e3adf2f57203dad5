/* now.h - what time it is, and a fake for tests.
 * Owner: any thread. Needs: nothing. */
#ifndef BASE_NOW_H
#define BASE_NOW_H

#include <stdint.h>

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

/* Unix time in ns. May jump: for people and for rows, never for waiting. */
int64_t now_wall_ns(void);
/* Monotonic time in ns: for waiting and measuring. */
int64_t now_mono_ns(void);
/* Time since the machine was booted, suspended or not, in ns: for the age of rows within one boot.
 */
int64_t now_boot_ns(void);

/* Tests only. From the first call on, all clocks stand still where they were set; the time since
 * the boot is mono_ns too. */
void now_fake(int64_t wall_ns, int64_t mono_ns);
/* Tests only. Moves both fake clocks forward. */
void now_fake_advance(int64_t ns);
/* Tests only. Back to the real clocks. */
void now_fake_off(void);

#endif
