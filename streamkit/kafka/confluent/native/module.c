/* The module of Python, and the way to librdkafka. */

#include "native.h"

#include <dlfcn.h>

Librdkafka librdkafka;

/* load(path): looks librdkafka's functions up in what is loaded with the extension of confluent-kafka at `path`. ImportError if one
 * is missing. The version of the library as hexadecimal digits 0xMMmmrrpp. */
static PyObject *load(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *path;
    if (!PyArg_ParseTuple(arguments, "s", &path)) return NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        PyErr_Format(PyExc_ImportError, "%s", dlerror());
        return NULL;
    }
    Librdkafka found;
#define LOOK_UP(result, name, arguments)                                                                                             \
    *(void **)&found.name = dlsym(library, "rd_kafka_" #name);                                                                       \
    if (found.name == NULL) {                                                                                                        \
        PyErr_SetString(PyExc_ImportError, "this librdkafka has no rd_kafka_" #name);                                                \
        return NULL;                                                                                                                 \
    }
    LIBRDKAFKA_FUNCTIONS(LOOK_UP)
#undef LOOK_UP
    librdkafka = found;
    return PyLong_FromLong(librdkafka.version());
}

static PyMethodDef functions[] = {
    {"load", load, METH_VARARGS, "load(path): find librdkafka's functions; returns its version."},
    {"split", reader_split, METH_VARARGS, "split((joined, lengths)): the parts of joined bytes; a negative length is None."},
    {NULL, NULL, 0, NULL},
};

static int add_types(PyObject *module) {
    PyType_Spec *specs[] = {&kept_spec, &reader_spec, &sender_spec};
    const char *names[] = {"Kept", "Reader", "Sender"};
    for (int i = 0; i < 3; i++) {
        PyObject *type = PyType_FromSpec(specs[i]);
        if (type == NULL || PyModule_AddObjectRef(module, names[i], type) < 0) {
            Py_XDECREF(type);
            return -1;
        }
        Py_DECREF(type);
    }
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, add_types},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "Records between librdkafka and Python by columns, without an object and a call for each.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
