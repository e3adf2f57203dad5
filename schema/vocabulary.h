/* vocabulary.h - enums and names of vocabulary.def: signals, classes, encodings, outcomes.
 * Owner: none, constants. Needs: nothing.
 * large file: one enum and one accessor for each set of words. */
#ifndef SCHEMA_VOCABULARY_H
#define SCHEMA_VOCABULARY_H

enum signal {
#define SIGNAL(name, text, noun, path, method) SIGNAL_##name,
#include "schema/vocabulary.def"
#undef SIGNAL
	SIGNAL_COUNT
};

/* The class of a record or batch: how urgent it is. The value is its priority: 0 is sent first. */
enum record_class {
#define CLASS(name, text, priority) RECORD_CLASS_##name = priority,
#include "schema/vocabulary.def"
#undef CLASS
	RECORD_CLASS_COUNT
};

enum encoding {
#define ENCODING(name, text) ENCODING_##name,
#include "schema/vocabulary.def"
#undef ENCODING
	ENCODING_COUNT
};

enum outcome {
#define OUTCOME(name, text) OUTCOME_##name,
#include "schema/vocabulary.def"
#undef OUTCOME
	OUTCOME_COUNT
};

enum delivery_state {
#define DELIVERY_STATE(name, text, moves) DELIVERY_##name,
#include "schema/delivery_states.def"
#undef DELIVERY_STATE
	DELIVERY_STATE_COUNT
};

static inline const char *signal_text(enum signal s)
{
	static const char *const text[] = {
#define SIGNAL(name, text, noun, path, method) text,
#include "schema/vocabulary.def"
#undef SIGNAL
	};
	return text[s];
}

/* What the OpenTelemetry Collector's metric names call one record: spans, metric_points,
 * log_records. */
static inline const char *signal_noun(enum signal s)
{
	static const char *const noun[] = {
#define SIGNAL(name, text, noun, path, method) noun,
#include "schema/vocabulary.def"
#undef SIGNAL
	};
	return noun[s];
}

/* OTLP/HTTP: the default URL path of the signal (OTLP specification, "OTLP/HTTP Request"). */
static inline const char *signal_http_path(enum signal s)
{
	static const char *const path[] = {
#define SIGNAL(name, text, noun, path, method) path,
#include "schema/vocabulary.def"
#undef SIGNAL
	};
	return path[s];
}

/* OTLP/gRPC: the :path of the signal's Export method. */
static inline const char *signal_grpc_path(enum signal s)
{
	static const char *const method[] = {
#define SIGNAL(name, text, noun, path, method) method,
#include "schema/vocabulary.def"
#undef SIGNAL
	};
	return method[s];
}

static inline const char *record_class_text(enum record_class c)
{
	static const char *const text[] = {
#define CLASS(name, text, priority) [priority] = text,
#include "schema/vocabulary.def"
#undef CLASS
	};
	return text[c];
}

static inline const char *encoding_text(enum encoding e)
{
	static const char *const text[] = {
#define ENCODING(name, text) text,
#include "schema/vocabulary.def"
#undef ENCODING
	};
	return text[e];
}

static inline const char *outcome_text(enum outcome o)
{
	static const char *const text[] = {
#define OUTCOME(name, text) text,
#include "schema/vocabulary.def"
#undef OUTCOME
	};
	return text[o];
}

static inline const char *delivery_state_text(enum delivery_state s)
{
	static const char *const text[] = {
#define DELIVERY_STATE(name, text, moves) text,
#include "schema/delivery_states.def"
#undef DELIVERY_STATE
	};
	return text[s];
}

#endif
