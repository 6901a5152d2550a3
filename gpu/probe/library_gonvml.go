//go:build linux && !nonvml && gonvml

package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// openLibrary loads NVML with NVIDIA's binding. Our own binding finds the file, because it knows
// where to look. It also keeps the library mapped, although go-nvml closes it in Shutdown.
//
// One process can use only one NVML: go-nvml resolves each function once, in whichever library has
// it first.
func openLibrary(path string) (library, error) {
	mapped, err := nvml.Open(path)
	if err != nil {
		return nil, err
	}
	symbols := dl.New(mapped.Path(), dl.RTLD_LAZY|dl.RTLD_GLOBAL)
	if err := symbols.Open(); err != nil {
		return nil, fmt.Errorf("cannot open the NVML library: %w", err)
	}
	lib := gonvml.New(gonvml.WithLibraryPath(mapped.Path()))
	return &goLibrary{lib, mapped.Path(), symbols}, nil
}

// runningCall returns no call, because go-nvml does not tell which ones are under way.
func runningCall() (function string, since time.Time, ok bool) { return "", time.Time{}, false }

type goLibrary struct {
	lib     gonvml.Interface
	path    string
	symbols *dl.DynamicLibrary
}

// has reports whether the library has a function. It is asked before each call, because go-nvml
// ends the process when it calls a missing function.
func (l *goLibrary) has(function string) bool { return l.symbols.Lookup(function) == nil }

// outcome returns the error for a return code. The numbers are the same in both bindings.
func outcome(r gonvml.Return) error {
	if r == gonvml.SUCCESS {
		return nil
	}
	return nvml.Return(r)
}

// goAsk calls a function if the library has it, or has one of the other versions among which
// go-nvml chooses.
func goAsk[T any](
	l *goLibrary, function string, call func() (T, gonvml.Return), versions ...string,
) (T, error) {
	if !l.has(function) && !slices.ContainsFunc(versions, l.has) {
		var zero T
		return zero, nvml.ErrFunctionNotFound
	}
	value, r := call()
	return value, outcome(r)
}

// tooOld reports whether err means that an older version of the function may work.
func tooOld(err error) bool {
	return errors.Is(err, nvml.ErrFunctionNotFound) ||
		errors.Is(err, nvml.ErrArgumentVersionMismatch)
}

func (l *goLibrary) Path() string { return l.path }

func (l *goLibrary) Init() error {
	if l.has("nvmlInitWithFlags") {
		return outcome(l.lib.InitWithFlags(gonvml.INIT_FLAG_NO_ATTACH))
	}
	init := func() (any, gonvml.Return) { return nil, l.lib.Init() }
	_, err := goAsk(l, "nvmlInit_v2", init, "nvmlInit")
	return err
}

func (l *goLibrary) Shutdown() error {
	_, err := goAsk(l, "nvmlShutdown", func() (any, gonvml.Return) {
		return nil, l.lib.Shutdown()
	})
	return err
}

func (l *goLibrary) DriverVersion() (string, error) {
	s, err := goAsk(l, "nvmlSystemGetDriverVersion", l.lib.SystemGetDriverVersion)
	return printableASCII(s), err
}

func (l *goLibrary) NVMLVersion() (string, error) {
	s, err := goAsk(l, "nvmlSystemGetNVMLVersion", l.lib.SystemGetNVMLVersion)
	return printableASCII(s), err
}

func (l *goLibrary) CUDADriverVersion() (int, error) {
	v, err := goAsk(l, "nvmlSystemGetCudaDriverVersion_v2", l.lib.SystemGetCudaDriverVersion_v2)
	if tooOld(err) {
		v, err = goAsk(l, "nvmlSystemGetCudaDriverVersion", l.lib.SystemGetCudaDriverVersion)
	}
	return v, err
}

func (l *goLibrary) DeviceCount() (int, error) {
	return goAsk(l, "nvmlDeviceGetCount_v2", l.lib.DeviceGetCount, "nvmlDeviceGetCount")
}

func (l *goLibrary) Device(index int) (handle, error) {
	d, err := goAsk(l, "nvmlDeviceGetHandleByIndex_v2", func() (gonvml.Device, gonvml.Return) {
		return l.lib.DeviceGetHandleByIndex(index)
	}, "nvmlDeviceGetHandleByIndex")
	return goDevice{l, d}, err
}

func (l *goLibrary) ProcessName(pid uint32) (string, error) {
	s, err := goAsk(l, "nvmlSystemGetProcessName", func() (string, gonvml.Return) {
		return l.lib.SystemGetProcessName(int(pid))
	})
	return printableASCII(s), err
}

func (l *goLibrary) NewEventSet() (eventSet, error) {
	s, err := goAsk(l, "nvmlEventSetCreate", l.lib.EventSetCreate)
	return goEventSet{l, s}, err
}

// printableASCII replaces all other bytes with "?", as our own binding does.
func printableASCII(s string) string {
	clean := []byte(s)
	for i, c := range clean {
		if c < ' ' || c > '~' {
			clean[i] = '?'
		}
	}
	return string(clean)
}

type goEventSet struct {
	lib *goLibrary
	set gonvml.EventSet
}

func (s goEventSet) Register(h handle, types nvml.EventTypes) error {
	if !s.lib.has("nvmlDeviceRegisterEvents") {
		return nvml.ErrFunctionNotFound
	}
	return outcome(h.(goDevice).d.RegisterEvents(uint64(types), s.set))
}

func (s goEventSet) Wait(limit time.Duration) (event, error) {
	v2 := s.lib.has("nvmlEventSetWait_v2")
	if !v2 && !s.lib.has("nvmlEventSetWait") {
		return event{}, nvml.ErrFunctionNotFound
	}
	e, r := s.set.Wait(uint32(limit.Milliseconds()))
	if r != gonvml.SUCCESS {
		return event{}, outcome(r)
	}
	ours := nvml.Event{Type: nvml.EventTypes(e.EventType), XID: e.EventData,
		GPUInstance: e.GpuInstanceId, ComputeInstance: e.ComputeInstanceId}
	if !v2 { // version 1 does not fill in the ids, and go-nvml leaves them 0
		ours.GPUInstance, ours.ComputeInstance = nvml.NoInstance, nvml.NoInstance
	}
	return event{ours, goDevice{s.lib, e.Device}}, nil
}

func (s goEventSet) Free() error {
	if !s.lib.has("nvmlEventSetFree") {
		return nvml.ErrFunctionNotFound
	}
	return outcome(s.set.Free())
}

// fieldUint32 returns a field's value, which has to be an int.
func fieldUint32(v gonvml.FieldValue) (uint32, error) {
	if r := gonvml.Return(v.NvmlReturn); r != gonvml.SUCCESS {
		return 0, outcome(r)
	}
	switch gonvml.ValueType(v.ValueType) {
	case gonvml.VALUE_TYPE_UNSIGNED_INT, gonvml.VALUE_TYPE_SIGNED_INT:
	default:
		return 0, nvml.ErrUnknown
	}
	return binary.NativeEndian.Uint32(v.Value[:]), nil
}
