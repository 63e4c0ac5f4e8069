package metrics

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/limeload/limeload/pkg/server"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of fields, by message; a summary has the first two of a histogram. See
// https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
const (
	familyName, familyHelp, familyType, familyMetric = 1, 2, 3, 4

	metricLabel, metricGauge, metricCounter, metricSummary, metricHistogram = 1, 2, 3, 4, 7

	labelName, labelValue = 1, 2

	numberValue = 1 // of a gauge or a counter

	histogramCount, histogramSum, histogramBucket         = 1, 2, 3
	histogramSchema, histogramThreshold, histogramZeros   = 5, 6, 7
	histogramSpan, histogramDelta, spanOffset, spanLength = 12, 13, 1, 2
	bucketCount, bucketBound                              = 1, 2
)

// numberLength is that of the message of a gauge or a counter: a tag and a double.
const numberLength = 1 + 8

// valueField is where a metric has its value.
func valueField(kind dto.MetricType) protowire.Number {
	switch kind {
	case counters:
		return metricCounter
	case gauges:
		return metricGauge
	case dto.MetricType_SUMMARY:
		return metricSummary
	}
	return metricHistogram
}

// metricLength is that of a metric with these labels and a value of that length.
func metricLength(of, more string, value int) int { return len(of) + len(more) + fieldLength(value) }

// fieldLength is that of a message as a field of another one: no number here is above 15,
// so that a tag is one byte.
func fieldLength(message int) int { return 1 + protowire.SizeBytes(message) }

// appendPair appends a label as a field of a metric.
func appendPair(b []byte, name, value string) []byte {
	var room [128]byte
	return appendMessage(b, metricLabel, appendString(appendString(room[:0], labelName, name), labelValue, value))
}

// appendTotal appends the message of a summary, or the beginning of that of a histogram.
func appendTotal(b []byte, n uint64, took time.Duration) []byte {
	return appendDouble(appendNumberField(b, histogramCount, n), histogramSum, took.Seconds())
}

// appendHistogram shows durations twice, from the same counts and both exactly: with plain
// buckets for every scraper, and as a native histogram for those that know these. shown
// are the least and the greatest plain bound, as powers of two.
func appendHistogram(b []byte, d *server.Durations, shown [2]int) []byte {
	b = appendTotal(b, d.Count(), d.Sum)
	var below uint64
	for i, n := range d.Buckets {
		below += n
		if e := server.DurationBound(i); e >= shown[0] && e <= shown[1] {
			var room [32]byte
			bucket := appendNumberField(room[:0], bucketCount, below)
			b = appendMessage(b, histogramBucket, appendDouble(bucket, bucketBound, math.Ldexp(1, e)))
		}
	}
	return appendNative(b, d)
}

// appendNative appends the buckets of schema 0, in which bucket e holds what is above
// 2^(e-1) and up to 2^e. The first of ours is its zero bucket. The others are one span,
// from the first to the last that has something; counts are differences to the one before.
func appendNative(b []byte, d *server.Durations) []byte {
	b = appendNumberField(b, histogramSchema, protowire.EncodeZigZag(0))
	b = appendDouble(b, histogramThreshold, math.Ldexp(1, server.DurationBound(0)))
	b = appendNumberField(b, histogramZeros, d.Buckets[0])
	first, last := 1, len(d.Buckets)-1
	for first < last && d.Buckets[first] == 0 {
		first++
	}
	for last >= first && d.Buckets[last] == 0 {
		last--
	}
	if first > last {
		return b
	}
	var room [32]byte
	span := appendNumberField(room[:0], spanOffset, protowire.EncodeZigZag(int64(server.DurationBound(first))))
	b = appendMessage(b, histogramSpan, appendNumberField(span, spanLength, uint64(last-first+1)))
	var before int64
	for _, n := range d.Buckets[first : last+1] {
		b = appendNumberField(b, histogramDelta, protowire.EncodeZigZag(int64(n)-before))
		before = int64(n)
	}
	return b
}

// appendMessage, appendString, appendDouble and appendNumberField append a field of these
// types.
func appendMessage(b []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), message)
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendDouble(b []byte, field protowire.Number, v float64) []byte {
	b = protowire.AppendTag(b, field, protowire.Fixed64Type)
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}

func appendNumberField(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}
