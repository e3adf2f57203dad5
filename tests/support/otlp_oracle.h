/* otlp_oracle.h - protobuf-c's opinion of a request, to compare our own wire code with.
 * Owner: tests. Needs: proto, gateway/base. */
#ifndef TESTS_SUPPORT_OTLP_ORACLE_H
#define TESTS_SUPPORT_OTLP_ORACLE_H

#include "gateway/base/arena.h"
#include "schema/vocabulary.h"

/* Unpacks in the arena. False: protobuf-c refuses the bytes, or the arena is full. */
bool oracle_count(enum signal signal, struct bytes body, struct arena *arena, size_t *ret_records);

/* A message that stands for one value occurs twice somewhere in a body that the scan accepts. That
 * is legal, and protobuf merges the two, but protobuf-c refuses to where both are an AnyValue
 * without a value. */
bool oracle_must_merge(enum signal signal, struct bytes body);

/* Unpacks and packs again: the canonical bytes, which die with the arena. p NULL: as above. Strings
 * are cut at a NUL, and unknown fields stand at the end of their message. */
struct bytes oracle_repack(enum signal signal, struct bytes body, struct arena *arena);

#endif
