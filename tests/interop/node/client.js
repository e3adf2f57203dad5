// The unmodified OpenTelemetry SDK for JavaScript (@grpc/grpc-js below it), as a client of the gateway.
//
//   node client.js PROTOCOL ENDPOINT SIGNAL PREFIX WORKERS ROUNDS COUNT
//
// PROTOCOL: grpc, http/protobuf or http/json. Each worker has an exporter of its own and sends ROUNDS exports of
// COUNT records. Record i of all carries the attribute test.id = PREFIX-<signal>-<i>. Exit code 0: every export was
// acknowledged. Packages come from the folder in NODE_PATH.
const { ExportResultCode } = require('@opentelemetry/core');
const { BasicTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-base');
const { LoggerProvider, BatchLogRecordProcessor } = require('@opentelemetry/sdk-logs');
const { AggregationTemporality, MeterProvider, PeriodicExportingMetricReader } = require('@opentelemetry/sdk-metrics');

const SUFFIX = { grpc: 'grpc', 'http/protobuf': 'proto', 'http/json': 'http' };
const CLASS = { traces: 'OTLPTraceExporter', metrics: 'OTLPMetricExporter', logs: 'OTLPLogExporter' };
const PACKAGE = { traces: 'trace', metrics: 'metrics', logs: 'logs' };
const HOUR_MS = 3600 * 1000;

const [protocol, endpoint, signal, prefix, ...numbers] = process.argv.slice(2);
const [workers, rounds, count] = numbers.map(Number);

function makeExporter() {
	const module = require(`@opentelemetry/exporter-${PACKAGE[signal]}-otlp-${SUFFIX[protocol]}`);
	const url = protocol === 'grpc' ? `http://${endpoint}` : `http://${endpoint}/v1/${signal}`;
	const exporter = new module[CLASS[signal]]({
		url,
		compression: 'gzip',
		timeoutMillis: 30000,
		temporalityPreference: AggregationTemporality.DELTA,
	});
	// Flushing a metric reader does not fail where its export did: look at every result.
	const send = exporter.export.bind(exporter);
	exporter.export = (items, done) => send(items, (result) => {
		if (result.code !== ExportResultCode.SUCCESS) {
			console.error(result.error);
			process.exit(1);
		}
		done(result);
	});
	return exporter;
}

// Each gives {record(id), flush(), shutdown()}.
const MAKE = {
	traces() {
		const processor = new BatchSpanProcessor(makeExporter(),
			{ maxQueueSize: count, maxExportBatchSize: count, scheduledDelayMillis: HOUR_MS });
		const provider = new BasicTracerProvider({ spanProcessors: [processor] });
		const tracer = provider.getTracer('interop');
		return {
			record: (id) => tracer.startSpan('GET /things', { attributes: { 'test.id': id, empty: '', list: [1, 2] } }).end(),
			flush: () => provider.forceFlush(),
			shutdown: () => provider.shutdown(),
		};
	},
	logs() {
		const processor = new BatchLogRecordProcessor(makeExporter(),
			{ maxQueueSize: count, maxExportBatchSize: count, scheduledDelayMillis: HOUR_MS });
		const provider = new LoggerProvider({ processors: [processor] });
		const logger = provider.getLogger('interop');
		return {
			record: (id) => logger.emit({ severityNumber: 9, body: { nested: { text: 'ü' } }, attributes: { 'test.id': id } }),
			flush: () => provider.forceFlush(),
			shutdown: () => provider.shutdown(),
		};
	},
	metrics() {
		const reader = new PeriodicExportingMetricReader({ exporter: makeExporter(), exportIntervalMillis: HOUR_MS });
		const provider = new MeterProvider({ readers: [reader] });
		const counter = provider.getMeter('interop').createCounter('things');
		return {
			record: (id) => counter.add(1, { 'test.id': id }),
			flush: () => provider.forceFlush(),
			shutdown: () => provider.shutdown(),
		};
	},
};

async function work(worker) {
	const sender = MAKE[signal]();
	let next = worker * rounds * count;
	for (let round = 0; round < rounds; round++) {
		for (let i = 0; i < count; i++, next++)
			sender.record(`${prefix}-${signal}-${next}`);
		await sender.flush();
	}
	await sender.shutdown();
}

Promise.all(Array.from({ length: workers }, (_, i) => work(i))).then(() => process.exit(0), (error) => {
	console.error(error);
	process.exit(1);
});
