package tensorboard

import (
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// What the HPARAMS tab reads: summaries without a number whose metadata holds a
// message of its own.
const (
	experimentTag   = "_hparams_/experiment"
	sessionStartTag = "_hparams_/session_start_info"
	sessionEndTag   = "_hparams_/session_end_info"

	pluginExperiment   = 2
	pluginSessionStart = 3
	pluginSessionEnd   = 4

	typeFloat64   = 3
	statusSuccess = 1
)

// Hyperparameter is a column of the HPARAMS tab. Min and Max are its range; both 0:
// none is known.
type Hyperparameter struct {
	Name     string
	Min, Max float64
}

// Metric is a scalar that the HPARAMS tab shows.
type Metric struct{ Tag, Name, Description string }

// AppendExperiment appends to a summary what the table of all members has as columns.
func AppendExperiment(summary []byte, created float64, description string, hyperparameters []Hyperparameter, metrics []Metric) []byte {
	var m []byte
	m = appendText(m, 1, description)
	m = appendDouble(m, 3, created)
	for _, h := range hyperparameters {
		var info []byte
		info = appendText(info, 1, h.Name)
		info = appendNumber(info, 4, typeFloat64)
		if h.Min != 0 || h.Max != 0 {
			info = appendMessage(info, 6, appendDouble(appendDouble(nil, 1, h.Min), 2, h.Max))
		}
		m = appendMessage(m, 4, info)
	}
	for _, x := range metrics {
		var info []byte
		info = appendMessage(info, 1, appendText(nil, 2, x.Tag))
		info = appendText(info, 3, x.Name)
		info = appendText(info, 4, x.Description)
		m = appendMessage(m, 5, info)
	}
	return appendPlugin(summary, experimentTag, pluginExperiment, m)
}

// AppendSession appends a member's hyperparameters to a summary.
func AppendSession(summary []byte, started float64, hyperparameters map[string]float64) []byte {
	names := make([]string, 0, len(hyperparameters))
	for name := range hyperparameters {
		names = append(names, name)
	}
	slices.Sort(names)
	var m []byte
	for _, name := range names {
		// A map's entry is a message of key and value; the value one of a number.
		m = appendMessage(m, 1, appendMessage(appendText(nil, 1, name), 2, appendDouble(nil, 2, hyperparameters[name])))
	}
	m = appendDouble(m, 5, started)
	return appendPlugin(summary, sessionStartTag, pluginSessionStart, m)
}

// AppendSessionEnd appends to a summary that a member has trained to the end.
func AppendSessionEnd(summary []byte, ended float64) []byte {
	return appendPlugin(summary, sessionEndTag, pluginSessionEnd, appendDouble(appendNumber(nil, 1, statusSuccess), 2, ended))
}

// appendPlugin appends a value whose metadata holds a message of the plugin's. It has
// an empty tensor in place of a number.
func appendPlugin(summary []byte, tag string, field protowire.Number, message []byte) []byte {
	plugin := appendText(nil, 1, "hparams")
	plugin = appendMessage(plugin, 2, appendMessage(nil, field, message))
	const float32Type = 1
	tensor := appendNumber(nil, 1, float32Type)
	tensor = appendMessage(tensor, 2, appendMessage(nil, 2, nil)) // one dimension, of size 0
	value := appendText(nil, valueTag, tag)
	value = appendMessage(value, valueTensor, tensor)
	value = appendMessage(value, valueMetadata, appendMessage(nil, 1, plugin))
	return appendMessage(summary, summaryValue, value)
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

func appendMessage(b []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), message)
}

func appendNumber(b []byte, field protowire.Number, x uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), x)
}

func appendDouble(b []byte, field protowire.Number, x float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(x))
}
