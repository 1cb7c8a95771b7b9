package publish

import (
	"reflect"
	"strconv"
	"text/template"
	"text/template/parse"
)

// What the templates of one grant may cost together. A Secret holds at most 1 MiB; no honest template
// comes near any of these.
const (
	maxSource = 64 << 10  // bytes of template text
	maxSteps  = 10_000    // about 16 bytes of executed template text each
	maxWork   = 4 << 20   // bytes that go into and come out of functions
	maxValue  = 256 << 10 // weight of a single value
	maxOutput = 512 << 10 // bytes written
	maxDepth  = 64        // lists within lists
)

// refusal is an error whose text is ours, so that it may be shown.
type refusal string

func (r refusal) Error() string { return string(r) }

const (
	errSteps  refusal = "the templates loop too often"
	errWork   refusal = "the templates handle too much data"
	errOutput refusal = "the templates write more than 512 KiB"
)

// meter makes templates end. text/template has no bounds of its own: {{range 1000000000}} runs for
// minutes, a template can invoke itself, and a variable can double its own text in a few dozen steps.
// So each loop body and each template starts with a call of step, and each function weighs its arguments
// and its result. Steps and bytes are counted rather than measured in time: whether a template is refused
// does not depend on the machine.
type meter struct{ source, steps, work, output int }

func newMeter() *meter { return &meter{maxSource, maxSteps, maxWork, maxOutput} }

// Names of the calls that install writes into a template. They become known after parsing, so that no
// template can contain them. weighFunc shows in the error of a range over what is no list.
const (
	stepFunc  = "step"
	weighFunc = "range_operand"
)

// install puts the calls into t and all templates it defines.
func (m *meter) install(t *template.Template) {
	t.Funcs(template.FuncMap{stepFunc: m.step, weighFunc: m.weigh})
	for _, defined := range t.Templates() {
		if defined.Tree != nil {
			prepend(defined.Root, instrument(defined.Root))
		}
	}
}

// instrument returns what one execution of n costs, in steps, and meters the loops in it.
func instrument(n parse.Node) int {
	switch n := n.(type) {
	case *parse.ListNode:
		cost := 1
		if n != nil {
			for _, item := range n.Nodes {
				cost += instrument(item)
			}
		}
		return cost
	case *parse.TextNode:
		return 1 // its bytes are counted as output
	case *parse.IfNode:
		return instrumentBranch(&n.BranchNode)
	case *parse.WithNode:
		return instrumentBranch(&n.BranchNode)
	case *parse.RangeNode:
		cost := instrumentBranch(&n.BranchNode)
		// Ranging over a map sorts it first: the operand has a weight, too.
		n.Pipe.Cmds = append(n.Pipe.Cmds, call(n.Pipe.Pos, weighFunc))
		prepend(n.List, cost)
		return cost
	default:
		return 1 + len(n.String())/16
	}
}

func instrumentBranch(b *parse.BranchNode) int {
	return 1 + len(b.Pipe.String())/16 + instrument(b.List) + instrument(b.ElseList)
}

func prepend(list *parse.ListNode, cost int) {
	number := &parse.NumberNode{NodeType: parse.NodeNumber, IsInt: true, Int64: int64(cost), Text: strconv.Itoa(cost)}
	step := &parse.ActionNode{NodeType: parse.NodeAction, Pipe: &parse.PipeNode{
		NodeType: parse.NodePipe, Cmds: []*parse.CommandNode{call(list.Pos, stepFunc, number)},
	}}
	list.Nodes = append([]parse.Node{step}, list.Nodes...)
}

func call(at parse.Pos, function string, args ...parse.Node) *parse.CommandNode {
	return &parse.CommandNode{
		NodeType: parse.NodeCommand, Pos: at,
		Args: append([]parse.Node{parse.NewIdentifier(function).SetPos(at)}, args...),
	}
}

// step pays for one execution of a list; it prints nothing.
func (m *meter) step(cost int) (string, error) {
	if m.steps -= cost; m.steps < 0 {
		return "", errSteps
	}
	return "", nil
}

// weigh pays for one look at a value and returns it.
func (m *meter) weigh(value any) (any, error) {
	return value, m.pay(reflect.ValueOf(value))
}

func (m *meter) pay(values ...reflect.Value) error {
	for _, v := range values {
		weight := weight(v, 0, maxValue)
		if m.work -= weight; m.work < 0 || weight > maxValue {
			return errWork
		}
	}
	return nil
}

// metered returns fn with the same signature. It panics with errWork, which text/template turns into the
// error of the call: many functions have no error to return it in.
func (m *meter) metered(fn any) any {
	f := reflect.ValueOf(fn)
	invoke := f.Call
	if f.Type().IsVariadic() {
		invoke = f.CallSlice
	}
	return reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
		if err := m.pay(args...); err != nil {
			panic(err)
		}
		results := invoke(args)
		if err := m.pay(results[0]); err != nil {
			panic(err)
		}
		return results
	}).Interface()
}

// weight is about the number of bytes that printing v takes. It stops soon after limit: a value can
// contain the same list many times over.
func weight(v reflect.Value, depth, limit int) int {
	if depth > maxDepth {
		return limit + 1
	}
	const perValue = 16
	sum := perValue
	switch v.Kind() {
	case reflect.Interface:
		return weight(v.Elem(), depth, limit)
	case reflect.String:
		sum += v.Len()
	case reflect.Slice, reflect.Array:
		for i := 0; i < v.Len() && sum <= limit; i++ {
			sum += weight(v.Index(i), depth+1, limit-sum)
		}
	case reflect.Map:
		const sorting = 64 // whoever ranges over a map or prints it sorts it first
		for entries := v.MapRange(); sum <= limit && entries.Next(); {
			sum += sorting + weight(entries.Key(), depth+1, limit-sum) + weight(entries.Value(), depth+1, limit-sum)
		}
	default: // numbers, times, and the dot: what is made of it counts
	}
	return sum
}
