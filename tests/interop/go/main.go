// The unmodified OpenTelemetry SDK for Go (grpc-go below it), as a client of the gateway.
//
//	client PROTOCOL ENDPOINT SIGNAL PREFIX WORKERS ROUNDS COUNT
//
// Each worker has a provider and an exporter of its own, and so a connection, and sends ROUNDS exports of COUNT
// records over it. Record i of all carries the attribute test.id = PREFIX-<signal>-<i>. Exit code 0: every export was
// acknowledged.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
)

const timeout = 30 * time.Second

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	must(err)
	return n
}

func traceClient(protocol, endpoint string) otlptrace.Client {
	if protocol == "grpc" {
		return otlptracegrpc.NewClient(otlptracegrpc.WithEndpoint(endpoint), otlptracegrpc.WithInsecure(),
			otlptracegrpc.WithTimeout(timeout), otlptracegrpc.WithCompressor("gzip"),
			otlptracegrpc.WithDialOption(grpc.WithUserAgent("interop")))
	}
	return otlptracehttp.NewClient(otlptracehttp.WithEndpoint(endpoint), otlptracehttp.WithInsecure(),
		otlptracehttp.WithTimeout(timeout), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
}

func sendTraces(protocol, endpoint string, rounds, count int, id func() attribute.KeyValue) {
	ctx := context.Background()
	exporter, err := otlptrace.New(ctx, traceClient(protocol, endpoint))
	must(err)
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter,
		sdktrace.WithMaxQueueSize(count), sdktrace.WithMaxExportBatchSize(count), sdktrace.WithBatchTimeout(time.Hour)))
	for r := 0; r < rounds; r++ {
		for i := 0; i < count; i++ {
			_, span := provider.Tracer("interop").Start(ctx, "GET /things")
			span.SetAttributes(id())
			span.End()
		}
		must(provider.ForceFlush(ctx))
	}
	must(provider.Shutdown(ctx))
}

// Each round is new points only: the temporality is delta.
func sendMetrics(endpoint string, rounds, count int, id func() attribute.KeyValue) {
	ctx := context.Background()
	exporter, err := otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(endpoint), otlpmetricgrpc.WithInsecure(),
		otlpmetricgrpc.WithTimeout(timeout), otlpmetricgrpc.WithCompressor("gzip"),
		otlpmetricgrpc.WithTemporalitySelector(func(sdkmetric.InstrumentKind) metricdata.Temporality {
			return metricdata.DeltaTemporality
		}))
	must(err)
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(
		sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithInterval(time.Hour))))
	counter, err := provider.Meter("interop").Int64Counter("things")
	must(err)
	for r := 0; r < rounds; r++ {
		for i := 0; i < count; i++ {
			counter.Add(ctx, 1, metric.WithAttributes(id()))
		}
		must(provider.ForceFlush(ctx))
	}
	must(provider.Shutdown(ctx))
}

func main() {
	if len(os.Args) != 8 {
		fmt.Fprintln(os.Stderr, "usage: client PROTOCOL ENDPOINT SIGNAL PREFIX WORKERS ROUNDS COUNT")
		os.Exit(2)
	}
	protocol, endpoint, signal, prefix := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	workers, rounds, count := number(os.Args[5]), number(os.Args[6]), number(os.Args[7])
	// Exporters report here what ForceFlush keeps to itself.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(must))

	var done sync.WaitGroup
	for w := 0; w < workers; w++ {
		next := w * rounds * count
		id := func() attribute.KeyValue {
			next++
			return attribute.String("test.id", fmt.Sprintf("%s-%s-%d", prefix, signal, next-1))
		}
		done.Add(1)
		go func() {
			defer done.Done()
			if signal == "metrics" {
				sendMetrics(endpoint, rounds, count, id)
			} else {
				sendTraces(protocol, endpoint, rounds, count, id)
			}
		}()
	}
	done.Wait()
}
