package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	helm "github.com/fluxcd/helm-controller/api/v2"
	kustomize "github.com/fluxcd/kustomize-controller/api/v1"
	source "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

// fluxKinds makes an empty object of each kind that the examples use.
var fluxKinds = map[schema.GroupVersionKind]func() any{
	kustomize.GroupVersion.WithKind("Kustomization"): func() any { return new(kustomize.Kustomization) },
	source.GroupVersion.WithKind("GitRepository"):    func() any { return new(source.GitRepository) },
	source.GroupVersion.WithKind("OCIRepository"):    func() any { return new(source.OCIRepository) },
	helm.GroupVersion.WithKind("HelmRelease"):        func() any { return new(helm.HelmRelease) },
}

// besideFlux are the kinds of Kubernetes that the examples use in addition to Flux's own. The tests of the chart apply
// them to an API server.
var besideFlux = map[schema.GroupVersionKind]bool{
	{Version: "v1", Kind: "ServiceAccount"}:                                  true,
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"}: true,
}

// checkFlux decodes every document of the files into Flux's own types: an unknown field or kind is an error.
func checkFlux(files []string) error {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
		for {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil {
				err = checkFluxDocument(document)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return nil
}

func checkFluxDocument(document []byte) error {
	if len(bytes.TrimSpace(document)) == 0 {
		return nil
	}
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := strict.Unmarshal(document, &head); err != nil {
		return err
	}
	kind := schema.FromAPIVersionAndKind(head.APIVersion, head.Kind)
	if besideFlux[kind] {
		fmt.Println(kind.Kind)
		return nil
	}
	empty, known := fluxKinds[kind]
	if !known {
		return fmt.Errorf("%s is not a kind of Flux that this program knows", kind)
	}
	fmt.Println(kind.Kind)
	return strict.UnmarshalStrict(document, empty())
}
