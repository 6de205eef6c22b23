package main

import (
	"bytes"
	"encoding/json"
)

// dashboard is what one shows, in rows from the top.
type dashboard struct {
	uid, title, about string
	rows              []row
}

type row struct {
	title  string
	panels []panel
}

// panel is one question, or some that belong together.
type panel struct {
	title   string
	kind    kind
	unit    string // as Grafana names units
	width   int    // of 24; 0 = what is usual for the kind
	good    string // what is good, bad, and to be done: a person reads this who does not know the panel yet
	bad     string
	do      string
	queries []query
	steps   []step // where a number changes its colour
}

type kind string

const (
	graph  kind = "timeseries"
	number kind = "stat"
	table  kind = "table"
)

type query struct {
	expr   string
	legend string
}

// step gives numbers from one on a colour.
type step struct {
	from  float64
	color string
}

// ask is one query with a legend.
func ask(expr, legend string) []query { return []query{{expr, legend}} }

// atMost is green up to a bound and red from it on, and atLeast is red below one.
func atMost(bound float64) []step  { return []step{{0, "green"}, {bound, "red"}} }
func atLeast(bound float64) []step { return []step{{0, "red"}, {bound, "green"}} }

// object is a JSON object; encoding/json sorts its keys, so that the same dashboards are the same bytes.
type object map[string]any

// source is the data source that whoever looks has chosen.
var source = object{"type": "prometheus", "uid": "${datasource}"}

// json gives the dashboard as Grafana reads it. Version 39 is that of Grafana 11; later ones take it.
func (d *dashboard) json() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(object{
		"uid": d.uid, "title": d.title, "description": d.about, "tags": []string{"domicile"},
		"schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1, "timezone": "utc", "refresh": "15s",
		"time":        object{"from": "now-3h", "to": "now"},
		"links":       []object{{"type": "dashboards", "tags": []string{"domicile"}, "title": "Domicile", "asDropdown": false, "includeVars": true, "keepTime": true}},
		"templating":  object{"list": variables()},
		"annotations": object{"list": []object{alertsFiring()}},
		"panels":      d.panels(),
	})
	return b.Bytes(), err
}

// variables are what whoever looks may choose.
func variables() []object {
	return []object{
		{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
		choice("gateway", "Gateway"),
		choice("region", "Region"),
	}
}

// choice is a variable with the values of a label. All of them match series without the label too.
func choice(label, title string) object {
	asked := "label_values(residency_region_up, " + label + ")"
	return object{
		"name": label, "label": title, "type": "query", "datasource": source, "refresh": 2, "sort": 1,
		"definition": asked, "query": object{"query": asked, "refId": "variable"},
		"multi": true, "includeAll": true, "allValue": ".*", "current": object{"text": "All", "value": "$__all"},
	}
}

// alertsFiring marks in every graph when alerts fired.
func alertsFiring() object {
	return object{
		"name": "Alerts", "enable": true, "iconColor": "red", "datasource": source,
		"expr": alertsExpr, "step": "15s", "titleFormat": "{{alertname}}", "textFormat": "{{region}} {{gateway}}",
	}
}

const alertsExpr = `ALERTS{alertname=~"Domicile.+",alertstate="firing"}`

// panels lays the panels out, row by row.
func (d *dashboard) panels() []object {
	var out []object
	y := 0
	place := func(o object, x, w, h int) {
		o["id"], o["gridPos"] = len(out)+1, object{"x": x, "y": y, "w": w, "h": h}
		out = append(out, o)
	}
	for _, r := range d.rows {
		place(object{"type": "row", "title": r.title, "collapsed": false, "panels": []object{}}, 0, 24, 1)
		y++
		x, high := 0, 0
		for _, p := range r.panels {
			w, h := p.size()
			if x+w > 24 {
				x, y, high = 0, y+high, 0
			}
			place(p.object(), x, w, h)
			x, high = x+w, max(high, h)
		}
		y += high
	}
	return out
}

// size gives a panel's width and height.
func (p *panel) size() (w, h int) {
	w, h = 12, 8
	if p.kind == number {
		w, h = 4, 4
	}
	if p.width > 0 {
		w = p.width
	}
	return w, h
}

func (p *panel) object() object {
	var targets []object
	for i, q := range p.queries {
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "datasource": source, "editorMode": "code", "expr": q.expr, "legendFormat": q.legend,
			"instant": p.kind != graph, "range": p.kind == graph, "format": map[bool]string{true: "table", false: "time_series"}[p.kind == table],
		})
	}
	defaults := object{"unit": p.unit, "min": 0}
	if len(p.steps) > 0 {
		defaults["color"] = object{"mode": "thresholds"}
		defaults["thresholds"] = object{"mode": "absolute", "steps": p.thresholds()}
	}
	if p.kind == graph {
		defaults["custom"] = object{"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false}
		defaults["color"] = object{"mode": "palette-classic"}
	}
	o := object{
		"type": string(p.kind), "title": p.title, "datasource": source, "targets": targets, "options": p.options(),
		"description": "Good: " + p.good + "\n\nBad: " + p.bad + "\n\nDo: " + p.do,
		"fieldConfig": object{"defaults": defaults, "overrides": []object{}},
	}
	if p.kind == table {
		o["transformations"] = p.columns()
	}
	return o
}

// columns puts the answers of a table's queries beside each other, under the names of their legends.
func (p *panel) columns() []object {
	names := object{}
	for i, q := range p.queries {
		at := "Value"
		if len(p.queries) > 1 {
			at += " #" + string(rune('A'+i))
		}
		names[at] = q.legend
	}
	return []object{
		{"id": "merge", "options": object{}},
		{"id": "organize", "options": object{"excludeByName": object{"Time": true}, "renameByName": names}},
	}
}

func (p *panel) thresholds() []object {
	var out []object
	for i, s := range p.steps {
		o := object{"color": s.color, "value": s.from}
		if i == 0 {
			o["value"] = nil // from the least number on
		}
		out = append(out, o)
	}
	return out
}

func (p *panel) options() object {
	switch p.kind {
	case number:
		return object{
			"colorMode": "value", "graphMode": "area", "textMode": "auto",
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
	case table:
		return object{"showHeader": true}
	default:
		return object{
			"legend":  object{"displayMode": "table", "placement": "bottom", "showLegend": true, "calcs": []string{"lastNotNull", "max"}},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	}
}
