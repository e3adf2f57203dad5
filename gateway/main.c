/* main.c - the composition root: makes every part, starts and stops them in order. */
#include <stdio.h>

int main(void)
{
	(void)printf("tidegate %s\n", TIDEGATE_VERSION);
	return 0;
}
