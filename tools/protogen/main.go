// Command protogen compiles the project's .proto files and runs protoc-gen-go and
// protoc-gen-go-grpc on them.
//
// It stands in for protoc and needs Go only: protocompile parses the files, and the plugins are the
// tools pinned in this module's go.mod. With -check it writes nothing and fails if a generated file
// is missing, stale or left over.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const module = "github.com/cairnledger/cairn"

// plugins are run in order; each writes its own files.
var plugins = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

func main() {
	root := flag.String("root", "..", "top of the source tree")
	check := flag.Bool("check", false, "compare instead of writing")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	protoRoot := filepath.Join(root, "api", "proto")
	names, err := findProtos(protoRoot)
	if err != nil {
		return fmt.Errorf("list proto files: %w", err)
	}
	request, err := compile(protoRoot, names)
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	generated := map[string][]byte{}
	for _, plugin := range plugins {
		files, err := runPlugin(plugin, request)
		if err != nil {
			return fmt.Errorf("run %s: %w", plugin, err)
		}
		for _, f := range files {
			generated[f.GetName()] = []byte(f.GetContent())
		}
	}
	if check {
		return compare(root, generated)
	}
	for name, content := range generated {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make output folder: %w", err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("write generated file: %w", err)
		}
	}
	return nil
}

func findProtos(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".proto") {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	return names, err
}

// compile returns the request that protoc would hand to a plugin: all files in dependency order,
// with comments.
func compile(dir string, names []string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names, Parameter: proto.String("module=" + module)}
	seen := map[string]bool{}
	var add func(f linker.File)
	add = func(f linker.File) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		imports := f.Imports()
		for i := range imports.Len() {
			add(f.FindImportByPath(imports.Get(i).Path()))
		}
		request.ProtoFile = append(request.ProtoFile, descriptor(f))
	}
	for _, f := range files {
		add(f)
	}
	return request, nil
}

func descriptor(f linker.File) *descriptorpb.FileDescriptorProto {
	if r, ok := f.(linker.Result); ok {
		return r.FileDescriptorProto()
	}
	return protodesc.ToFileDescriptorProto(f)
}

func runPlugin(name string, request *pluginpb.CodeGeneratorRequest) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "tool", name)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return nil, fmt.Errorf("parse response: %w", err)
	}
	if response.Error != nil {
		return nil, errors.New(response.GetError())
	}
	return response.File, nil
}

func compare(root string, generated map[string][]byte) error {
	var problems []error
	for name, want := range generated {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			problems = append(problems, err)
		} else if !bytes.Equal(got, want) {
			problems = append(problems, fmt.Errorf("%s is not current: run tools/generate.sh", name))
		}
	}
	present, err := filepath.Glob(filepath.Join(root, "api", "cairnv1", "*.pb.go"))
	if err != nil {
		return err
	}
	for _, path := range present {
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if _, ok := generated[filepath.ToSlash(rel)]; !ok {
			problems = append(problems, fmt.Errorf("%s has no source any more: remove it", rel))
		}
	}
	return errors.Join(problems...)
}
