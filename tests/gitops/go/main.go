// Command verdict prints what the GitOps tools report about Kubernetes objects, by the tools' own rules:
//
//	verdict kstatus            Flux's: github.com/fluxcd/cli-utils/pkg/kstatus
//	verdict argocd FILE        Argo CD's: the Lua health checks of the ConfigMap in FILE, run as Argo CD runs them
//
// It reads JSON objects and writes one line for each: the status, a tab, the message.
//
//	verdict flux FILE...       checks that Flux's own types accept every document of the files
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "verdict:", err)
		os.Exit(1)
	}
}

type judge func(object map[string]any) (string, string, error)

func run(args []string) error {
	if len(args) > 1 && args[0] == "flux" {
		return checkFlux(args[1:])
	}
	judge, err := judgeOf(args)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(os.Stdin)
	for decoder.More() {
		var text json.RawMessage
		if err := decoder.Decode(&text); err != nil {
			return err
		}
		// Both tools decode so: whole numbers are int64.
		var object map[string]any
		if err := utiljson.Unmarshal(text, &object); err != nil {
			return err
		}
		verdict, message, err := judge(object)
		if err != nil {
			return err
		}
		fmt.Printf("%s\t%s\n", verdict, strings.ReplaceAll(message, "\n", " "))
	}
	return nil
}

func judgeOf(args []string) (judge, error) {
	switch {
	case len(args) == 1 && args[0] == "kstatus":
		return kstatus, nil
	case len(args) == 2 && args[0] == "argocd":
		checks, err := healthChecks(args[1])
		if err != nil {
			return nil, err
		}
		return checks.judge, nil
	default:
		return nil, errors.New("usage: verdict kstatus | verdict argocd FILE | verdict flux FILE")
	}
}

func kstatus(object map[string]any) (string, string, error) {
	result, err := status.Compute(&unstructured.Unstructured{Object: object})
	if err != nil {
		return "", "", err
	}
	return string(result.Status), result.Message, nil
}

// luaChecks holds the scripts by their keys in Argo CD's ConfigMap argocd-cm.
type luaChecks map[string]string

const healthKey = "resource.customizations.health."

func healthChecks(file string) (luaChecks, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var configMap struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal(text, &configMap); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return configMap.Data, nil
}

func (checks luaChecks) judge(object map[string]any) (string, string, error) {
	kind := (&unstructured.Unstructured{Object: object}).GroupVersionKind()
	script, found := checks[healthKey+kind.Group+"_"+kind.Kind]
	if !found {
		return "", "", fmt.Errorf("no health check for %s of %s", kind.Kind, kind.Group)
	}
	state, err := argoState()
	if err != nil {
		return "", "", err
	}
	defer state.Close()
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return "", "", fmt.Errorf("%s: %w", kind.Kind, err)
	}
	health, isTable := state.Get(-1).(*lua.LTable)
	if !isTable {
		return "", "", fmt.Errorf("%s: the check returns a %s, not a table", kind.Kind, state.Get(-1).Type())
	}
	verdict := lua.LVAsString(health.RawGetString("status"))
	switch verdict {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
		return verdict, lua.LVAsString(health.RawGetString("message")), nil
	default:
		return "", "", fmt.Errorf("%s: Argo CD does not know the health status %q", kind.Kind, verdict)
	}
}

// argoState returns an interpreter with only the libraries that Argo CD gives to a health check. It lacks `string`.
func argoState() (*lua.LState, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		call := lua.P{Fn: state.NewFunction(open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			state.Close()
			return nil, err
		}
	}
	return state, nil
}

// value converts decoded JSON to Lua as Argo CD does.
func value(state *lua.LState, decoded any) lua.LValue {
	switch it := decoded.(type) {
	case bool:
		return lua.LBool(it)
	case int64:
		return lua.LNumber(it)
	case float64:
		return lua.LNumber(it)
	case string:
		return lua.LString(it)
	case []any:
		list := state.CreateTable(len(it), 0)
		for _, item := range it {
			list.Append(value(state, item))
		}
		return list
	case map[string]any:
		table := state.CreateTable(0, len(it))
		for key, item := range it {
			table.RawSetH(lua.LString(key), value(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}
