// Health reads Kubernetes objects from standard input, one JSON document after another, and prints for each what those
// make of it who wait for it: kstatus, by which Flux and Helm go, and a health check in Lua as Argo CD runs it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const longestScript = time.Second

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type judged struct {
	Name    string  `json:"name"`
	KStatus verdict `json:"kstatus"`
	ArgoCD  verdict `json:"argocd"`
}

func main() {
	if len(os.Args) != 2 {
		fail(errors.New("usage: health SCRIPT.lua < objects.json"))
	}
	script, err := os.ReadFile(os.Args[1])
	fail(err)
	read, write := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var document json.RawMessage
		err := read.Decode(&document)
		if errors.Is(err, io.EOF) {
			return
		}
		fail(err)
		object := &unstructured.Unstructured{}
		fail(object.UnmarshalJSON(document))
		waited, err := status.Compute(object)
		fail(err)
		checked, err := healthOf(object, string(script))
		fail(err)
		fail(write.Encode(judged{object.GetName(), verdict{waited.Status.String(), waited.Message}, checked}))
	}
}

// healthOf runs a health check with what Argo CD gives one: the object as `obj`, and Lua's language and tables alone.
func healthOf(object *unstructured.Unstructured, script string) (verdict, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	libraries := map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable}
	for name, open := range libraries {
		call := lua.P{Fn: state.NewFunction(open), Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return verdict{}, err
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), longestScript)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", luaValue(state, object.Object))
	if err := state.DoString(script); err != nil {
		return verdict{}, err
	}
	health, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return verdict{}, errors.New("the script returns no table")
	}
	return verdict{lua.LVAsString(health.RawGetString("status")), lua.LVAsString(health.RawGetString("message"))}, nil
}

func luaValue(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		list := state.NewTable()
		for _, each := range value {
			list.Append(luaValue(state, each))
		}
		return list
	case map[string]any:
		table := state.NewTable()
		for key, each := range value {
			table.RawSetString(key, luaValue(state, each))
		}
		return table
	}
	return lua.LNil
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}
