/* OTLP's names as Prometheus writes them. What comes out is what prometheus/otlptranslator's own
 * tests expect of the same names and units: dashboards rest on these names. */
#include "gateway/telemetry/prometheus_names.h"

#include "tests/support/expect.h"

#define GAUGE     PROMETHEUS_GAUGE
#define COUNTER   PROMETHEUS_COUNTER
#define SUM       PROMETHEUS_SUM
#define HISTOGRAM PROMETHEUS_HISTOGRAM
#define SUMMARY   PROMETHEUS_SUMMARY

static struct buf out;

static const struct prometheus_naming both = { .is_escaped = true, .has_suffixes = true };
static const struct prometheus_naming escaped = { .is_escaped = true };
static const struct prometheus_naming suffixed = { .has_suffixes = true };
static const struct prometheus_naming as_is = { 0 };

struct metric_case {
	const struct prometheus_naming *naming;
	const char *name;
	const char *unit;
	enum prometheus_kind kind;
	const char *want; /* NULL: refused */
};

static const struct metric_case metrics[] = {
	{ &escaped, "simple_metric", "", GAUGE, "simple_metric" },
	{ &escaped, "metric@with#special$chars", "", GAUGE, "metric_with_special_chars" },
	{ &escaped, "123metric", "", GAUGE, "_123metric" },
	{ &escaped, "", "", GAUGE, NULL },
	{ &escaped, "metric@@##$$name", "", GAUGE, "metric_name" },
	{ &escaped, "@#$%", "", GAUGE, NULL },
	{ &escaped, "@_#_$_%", "", GAUGE, NULL },
	{ &escaped, "___", "", GAUGE, "___" },
	{ &escaped, "a__b", "s", COUNTER, "a__b" },
	{ &both, "requests", "", COUNTER, "requests_total" },
	{ &both, "cpu_usage", "1", GAUGE, "cpu_usage_ratio" },
	{ &both, "items", "1", COUNTER, "items_total" },
	{ &both, "items", "1", SUM, "items" },
	{ &both, "response_time", "ms", GAUGE, "response_time_milliseconds" },
	{ &both, "memory_usage", "By", GAUGE, "memory_usage_bytes" },
	{ &both, "requests", "1/s", GAUGE, "requests_per_second" },
	{ &both, "requests", "1/s", COUNTER, "requests_per_second_total" },
	{ &both, "throughput", "By/s", GAUGE, "throughput_bytes_per_second" },
	{ &both, "custom_metric", "custom_unit", GAUGE, "custom_metric_custom_unit" },
	{ &both, "custom_metric", "{custom}", GAUGE, "custom_metric" },
	{ &both, "custom_metric", "By/{custom}", GAUGE, "custom_metric_bytes" },
	{ &both, "requests_total", "", COUNTER, "requests_total" },
	{ &both, "total.requests", "", COUNTER, "requests_total" },
	{ &both, "cpu_usage_ratio", "1", GAUGE, "cpu_usage_ratio" },
	{ &both, "response_time_seconds", "s", GAUGE, "response_time_seconds" },
	{ &both, "seconds.of.time", "s", GAUGE, "seconds_of_time" },
	{ &both, "123_requests", "", COUNTER, "_123_requests_total" },
	{ &both, "metric__with__multiple__underscores", "unit__multiple__underscores", GAUGE,
	  "metric_with_multiple_underscores_unit_multiple_underscores" },
	{ &both, "custom_metric", "unit@with#special/chars", GAUGE,
	  "custom_metric_unit_with_special_per_chars" },
	{ &both, "@#$%", "", GAUGE, NULL },
	{ &both, "request_duration", "s", HISTOGRAM, "request_duration_seconds" },
	{ &both, "response_time", "ms", SUMMARY, "response_time_milliseconds" },
	{ &both, "active_connections", "", SUM, "active_connections" },
	{ &both, "uptime", "d", GAUGE, "uptime_days" },
	{ &both, "duration", "h", GAUGE, "duration_hours" },
	{ &both, "timeout", "min", GAUGE, "timeout_minutes" },
	{ &both, "latency", "us", GAUGE, "latency_microseconds" },
	{ &both, "precision_time", "ns", GAUGE, "precision_time_nanoseconds" },
	{ &both, "cache_size", "KiBy", GAUGE, "cache_size_kibibytes" },
	{ &both, "memory", "MiBy", GAUGE, "memory_mebibytes" },
	{ &both, "storage", "GiBy", GAUGE, "storage_gibibytes" },
	{ &both, "capacity", "TiBy", GAUGE, "capacity_tibibytes" },
	{ &both, "transfer", "KBy", GAUGE, "transfer_kilobytes" },
	{ &both, "download", "MBy", GAUGE, "download_megabytes" },
	{ &both, "backup", "GBy", GAUGE, "backup_gigabytes" },
	{ &both, "archive", "TBy", GAUGE, "archive_terabytes" },
	{ &both, "distance", "m", GAUGE, "distance_meters" },
	{ &both, "voltage", "V", GAUGE, "voltage_volts" },
	{ &both, "current", "A", GAUGE, "current_amperes" },
	{ &both, "energy", "J", GAUGE, "energy_joules" },
	{ &both, "power", "W", GAUGE, "power_watts" },
	{ &both, "weight", "g", GAUGE, "weight_grams" },
	{ &both, "temperature", "Cel", GAUGE, "temperature_celsius" },
	{ &both, "frequency", "Hz", GAUGE, "frequency_hertz" },
	{ &both, "cpu_usage", "%", GAUGE, "cpu_usage_percent" },
	{ &both, "speed", "m/m", GAUGE, "speed_meters_per_minute" },
	{ &both, "events", "1/h", GAUGE, "events_per_hour" },
	{ &both, "transactions", "1/d", GAUGE, "transactions_per_day" },
	{ &both, "reports", "1/w", GAUGE, "reports_per_week" },
	{ &both, "invoices", "1/mo", GAUGE, "invoices_per_month" },
	{ &both, "renewals", "1/y", GAUGE, "renewals_per_year" },
	{ &both, "custom", "1/custom_unit", GAUGE, "custom_per_custom_unit" },
	{ &both, "metric", "By/", GAUGE, "metric_bytes" },
	{ &both, "metric", " By / s ", GAUGE, "metric_bytes_per_second" },
	{ &both, "metric", "/", GAUGE, "metric" },
	{ &both, "metric", "1/@", GAUGE, "metric" },
	{ &both, "http.request.duration", "ms", HISTOGRAM, "http_request_duration_milliseconds" },
	{ &both, "http.requests", "1", COUNTER, "http_requests_total" },
	{ &both, "a:b.c", "", GAUGE, "a:b_c" },
	{ &both, "m\xc3\xa9tric", "", GAUGE, "m_tric" },
	{ &as_is, "m\xc3\xa9tric_with_\xc3\xb1", "s", COUNTER, "m\xc3\xa9tric_with_\xc3\xb1" },
	{ &as_is, "http.requests", "1", COUNTER, "http.requests" },
	{ &as_is, "", "", GAUGE, NULL },
	{ &suffixed, "requests_total", "", COUNTER, "requests_total" },
	{ &suffixed, "cpu_usage_ratio", "1", GAUGE, "cpu_usage_ratio" },
	{ &suffixed, "cpu_usag\xc3\xa9", "1", GAUGE, "cpu_usag\xc3\xa9_ratio" },
	{ &suffixed, "response_time_seconds", "s", GAUGE, "response_time_seconds" },
	{ &suffixed, "cpu_seconds_total", "s", COUNTER, "cpu_seconds_total" },
	{ &suffixed, "otelcol_process_cpu_seconds", "s", COUNTER,
	  "otelcol_process_cpu_seconds_total" },
	{ &suffixed, "requ\xc3\xaasts", "1/s", GAUGE, "requ\xc3\xaasts_per_second" },
	{ &suffixed, "requests", "By/s", COUNTER, "requests_bytes_per_second_total" },
	{ &suffixed, "@#$%", "", COUNTER, "@#$%_total" },
};

START_TEST(a_metric_is_called)
{
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		const struct metric_case *m = &metrics[i];
		buf_init(&out, 4096, NULL);
		ck_assert_int_eq(buf_append_str(&out, "before "), ST_OK);
		EXPECT_STATUS(prometheus_metric_name(m->naming, bytes_str(m->name),
						     bytes_str(m->unit), m->kind, &out),
			      m->want ? ST_OK : ST_INVALID);
		ck_assert_int_eq(buf_append_byte(&out, 0), ST_OK);
		ck_assert_msg(strcmp((char *)out.p + 7, m->want ? m->want : "") == 0,
			      "%s in %s is %s, expected %s", m->name, m->unit, (char *)out.p + 7,
			      m->want);
		buf_done(&out);
	}
}
END_TEST

START_TEST(a_unit_is_called)
{
	static const char *const units[][2] = {
		{ "s", "seconds" },
		{ "By/s", "bytes_per_second" },
		{ "1", "" },
		{ "{x}", "" },
		{ "1/s", "per_second" },
		{ "requests/s", "requests_per_second" },
		{ "", "" },
		{ "foo!", "foo" },
	};
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		buf_init(&out, 4096, NULL);
		EXPECT_OK(prometheus_unit_name(&both, bytes_str(units[i][0]), &out));
		ck_assert_int_eq(buf_append_byte(&out, 0), ST_OK);
		ck_assert_str_eq((char *)out.p, units[i][1]);
		buf_done(&out);
	}
}
END_TEST

START_TEST(a_label_is_called)
{
	static const char *const labels[][2] = {
		{ "label:with:colons", "label_with_colons" },
		{ "LabelWithCapitalLetters", "LabelWithCapitalLetters" },
		{ "label!with&special$chars)", "label_with_special_chars_" },
		{ "label_with_foreign_\xe5\xad\x97\xe7\xac\xa6", "label_with_foreign_" },
		{ "label.with.dots", "label_with_dots" },
		{ ".foo", "key_foo" },
		{ "123label", "key_123label" },
		{ "_label_starting_with_underscore", "key_label_starting_with_underscore" },
		{ "__label_starting_with_2underscores", "key_label_starting_with_2underscores" },
		{ "label__with__double__underscores", "label_with_double_underscores" },
		{ "label.name__with&&special##chars", "label_name_with_special_chars" },
		{ "__reserved__label__name__", "__reserved_label_name__" },
		{ "trailing_underscores___", "trailing_underscores_" },
		/* Refused by otlptranslator; here a record is worth more than its worst label. */
		{ "\xe3\x82\x88", "_" },
		{ "__", "_" },
		{ "____", "_" },
		{ "", "_" },
	};
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
		buf_init(&out, 4096, NULL);
		EXPECT_OK(prometheus_label_name(&both, bytes_str(labels[i][0]), &out));
		ck_assert_int_eq(buf_append_byte(&out, 0), ST_OK);
		ck_assert_str_eq((char *)out.p, labels[i][1]);
		buf_clear(&out);
		EXPECT_OK(prometheus_label_name(&as_is, bytes_str(labels[i][0]), &out));
		ck_assert_int_eq(buf_append_byte(&out, 0), ST_OK);
		ck_assert_str_eq((char *)out.p, *labels[i][0] ? labels[i][0] : "_");
		buf_done(&out);
	}
}
END_TEST

START_TEST(a_full_buffer_is_said)
{
	for (size_t max = 0; max < 27; max++) {
		buf_init(&out, max, NULL);
		EXPECT_STATUS(prometheus_metric_name(&both, bytes_str("throughput"),
						     bytes_str("By/s"), GAUGE, &out),
			      ST_TOO_LARGE);
		buf_done(&out);
	}
}
END_TEST

int main(void)
{
	const TTest *const cases[] = { a_metric_is_called, a_unit_is_called, a_label_is_called,
				       a_full_buffer_is_said };
	return run_cases("prometheus_names", cases, sizeof(cases) / sizeof(cases[0]));
}
