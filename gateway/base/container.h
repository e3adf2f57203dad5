/* container.h - from an embedded member back to the struct that holds it.
 * Owner: none. Needs: nothing. */
#ifndef BASE_CONTAINER_H
#define BASE_CONTAINER_H

#include <stddef.h>

/* The address passes through void *: the member's alignment says nothing of the container's. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
