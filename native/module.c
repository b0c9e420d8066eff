/* The module `penstock.pipeline._native`: rows to text and hashes without the interpreter's lock, and the sinks that a
 * query fills. Only the stable ABI of Python 3.11 is used, so that one build serves every later version. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdlib.h>

#include "parse.h"
#include "rows.h"
#include "scan.h"

/* Memory of ours that Python may look at. */
struct block {
    PyObject_HEAD
    struct text text;
};

struct scan {
    PyObject_HEAD
    struct sink *sink;
};

static PyObject *block_type, *scan_type;

static PyObject *block_from(struct text *text)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot((PyTypeObject *)block_type, Py_tp_alloc);
    struct block *block = (struct block *)allocate((PyTypeObject *)block_type, 0);
    if (block == NULL) {
        text_free(text);
        return NULL;
    }
    block->text = *text;
    *text = (struct text){0};
    return (PyObject *)block;
}

static void block_free(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    text_free(&((struct block *)self)->text);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static int block_buffer(PyObject *self, Py_buffer *view, int flags)
{
    struct text *text = &((struct block *)self)->text;
    return PyBuffer_FillInfo(view, self, text->bytes == NULL ? "" : text->bytes, (Py_ssize_t)text->used, 1, flags);
}

static PyType_Slot block_slots[] = {
    {Py_tp_doc, "Bytes, to be read through the buffer protocol."},
    {Py_tp_dealloc, block_free},
    {Py_bf_getbuffer, block_buffer},
    {0, NULL},
};
static PyType_Spec block_spec = {
    "penstock.pipeline._native.Block", sizeof(struct block), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, block_slots,
};

static PyObject *scan_new(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    static char *keys[] = {"bytes", NULL};
    long long bytes;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "L", keys, &bytes))
        return NULL;
    if (bytes < 0 || bytes > INT32_MAX)
        bytes = 0;
    struct scan *scan = (struct scan *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (scan == NULL)
        return NULL;
    scan->sink = sink_open(bytes);
    if (scan->sink == NULL) {
        Py_DECREF(scan);
        return PyErr_NoMemory();
    }
    return (PyObject *)scan;
}

static void scan_free(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    struct scan *scan = (struct scan *)self;
    if (scan->sink != NULL)
        sink_close(scan->sink);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *scan_number(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromLongLong(((struct scan *)self)->sink->number);
}

static PyObject *taken(bool wanted, struct text *text)
{
    if (wanted)
        return block_from(text);
    return Py_NewRef(Py_None);
}

/* The buffers of columns as Python sees them; they are not ours any more. */
static PyObject *columns_from(struct gathered *gathered, int count)
{
    PyObject *columns = PyTuple_New(count);
    for (int at = 0; columns != NULL && at < count; at++) {
        struct gathered *from = &gathered[at];
        PyObject *valid = taken(from->nulls > 0, &from->valid);
        PyObject *offsets = taken(from->offsets.used > 0, &from->offsets), *values = block_from(&from->values);
        PyObject *column =
            valid && offsets && values ? Py_BuildValue("(OOOL)", valid, offsets, values, (long long)from->nulls) : NULL;
        Py_XDECREF(valid);
        Py_XDECREF(offsets);
        Py_XDECREF(values);
        if (column == NULL || PyTuple_SetItem(columns, at, column) != 0)
            Py_CLEAR(columns);
    }
    return columns;
}

static PyObject *scan_take(PyObject *self, PyObject *none)
{
    (void)none;
    return columns_from(((struct scan *)self)->sink->columns, SCAN_COLUMNS);
}

static PyMethodDef scan_methods[] = {
    {"take", scan_take, METH_NOARGS, "The buffers of every column: validity or None, offsets or None, values, nulls. Once."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef scan_members[] = {
    {"number", scan_number, NULL, "What the query names the sink by.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot scan_slots[] = {
    {Py_tp_doc, "A sink for penstock_scan, with room for about `bytes` of payload."},
    {Py_tp_new, scan_new},
    {Py_tp_dealloc, scan_free},
    {Py_tp_methods, scan_methods},
    {Py_tp_getset, scan_members},
    {0, NULL},
};
static PyType_Spec scan_spec = {
    "penstock.pipeline._native.Scan", sizeof(struct scan), 0, Py_TPFLAGS_DEFAULT, scan_slots,
};

/* The rows behind the two capsules of `__arrow_c_array__`; -1 with an exception set. */
static int rows_in(PyObject *schema, PyObject *array, struct rows *rows)
{
    struct arrow_schema *fields = PyCapsule_GetPointer(schema, "arrow_schema");
    struct arrow_array *values = fields == NULL ? NULL : PyCapsule_GetPointer(array, "arrow_array");
    const char *complaint;
    if (values == NULL)
        return -1;
    complaint = rows_of(rows, fields, values);
    if (complaint == NULL)
        return 0;
    PyErr_SetString(PyExc_ValueError, complaint);
    return -1;
}

static PyObject *number_from(struct hash128 sum)
{
    PyObject *high = PyLong_FromUnsignedLongLong(sum.high), *low = PyLong_FromUnsignedLongLong(sum.low);
    PyObject *bits = PyLong_FromLong(64), *number = NULL;
    PyObject *shifted = high && bits ? PyNumber_Lshift(high, bits) : NULL;
    if (shifted != NULL && low != NULL)
        number = PyNumber_Or(shifted, low);
    Py_XDECREF(high);
    Py_XDECREF(low);
    Py_XDECREF(bits);
    Py_XDECREF(shifted);
    return number;
}

typedef void (*renderer)(const struct rows *, const char *, size_t, struct text *, struct hash128 *);

static PyObject *rendered(PyObject *arguments, renderer render)
{
    PyObject *schema, *array, *digest, *pair = NULL;
    int hashed;
    const char *word;
    Py_ssize_t word_length;
    struct rows rows;
    struct text text = {0};
    struct hash128 sum = {0, 0};
    if (!PyArg_ParseTuple(arguments, "OOy#p", &schema, &array, &word, &word_length, &hashed) || rows_in(schema, array, &rows))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    render(&rows, word, (size_t)word_length, &text, hashed ? &sum : NULL);
    Py_END_ALLOW_THREADS
    if (text.failed) {
        text_free(&text);
        return PyErr_NoMemory();
    }
    digest = number_from(sum);
    PyObject *block = block_from(&text);
    if (digest != NULL && block != NULL)
        pair = PyTuple_Pack(2, block, digest);
    Py_XDECREF(digest);
    Py_XDECREF(block);
    return pair;
}

static PyObject *native_lines(PyObject *module, PyObject *arguments)
{
    (void)module;
    return rendered(arguments, rows_lines);
}

static PyObject *native_csv(PyObject *module, PyObject *arguments)
{
    (void)module;
    return rendered(arguments, rows_csv);
}

static PyObject *native_digest(PyObject *module, PyObject *arguments)
{
    PyObject *schema, *array;
    struct rows rows;
    struct hash128 sum = {0, 0};
    bool done;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO", &schema, &array) || rows_in(schema, array, &rows))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    done = rows_digest(&rows, &sum);
    Py_END_ALLOW_THREADS
    return done ? number_from(sum) : PyErr_NoMemory();
}

/* The names in a tuple; they live as long as it does. -1 with an exception set. */
static int names_in(PyObject *tuple, const char *names[MOST_COLUMNS])
{
    Py_ssize_t count = PyTuple_Check(tuple) ? PyTuple_Size(tuple) : 0;
    for (Py_ssize_t at = 0; at < count && at < MOST_COLUMNS; at++) {
        names[at] = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(tuple, at), NULL);
        if (names[at] == NULL)
            return -1;
    }
    return count > MOST_COLUMNS ? 0 : (int)count;
}

static PyObject *native_parse(PyObject *module, PyObject *arguments)
{
    const char *text, *names[MOST_COLUMNS];
    Py_ssize_t length;
    PyObject *tuple, *found = NULL;
    struct parsed parsed;
    int max_depth, count;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y#Oi", &text, &length, &tuple, &max_depth) || (count = names_in(tuple, names)) < 0)
        return NULL;
    if (!parsed_choose(&parsed, count, names)) {
        PyErr_SetString(PyExc_ValueError, "the columns are not those of an event in their order");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    parsed_read(&parsed, text, (size_t)length, max_depth);
    Py_END_ALLOW_THREADS
    if (parsed.no_memory)
        PyErr_NoMemory();
    else if (parsed.complaint != NULL)
        found = Py_BuildValue("(Lzs)", (long long)parsed.rows, parsed.culprit, parsed.complaint);
    else {
        PyObject *columns = columns_from(parsed.columns, parsed.count);
        if (columns != NULL)
            found = Py_BuildValue("(LNN)", (long long)parsed.rows, PyBool_FromLong(parsed.settled), columns);
    }
    parsed_free(&parsed);
    return found;
}

static PyMethodDef methods[] = {
    {"parse", native_parse, METH_VARARGS,
     "parse(text, names, max_depth) -> rows, settled, columns; or line, culprit, complaint: NDJSON lines to columns."},
    {"lines", native_lines, METH_VARARGS, "lines(schema, array, end, hashed) -> text, sum: rows as NDJSON lines."},
    {"csv", native_csv, METH_VARARGS, "csv(schema, array, null, hashed) -> text, sum: rows as lines of CSV."},
    {"digest", native_digest, METH_VARARGS, "digest(schema, array) -> sum of the hashes of the canonical bytes."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "Rows to text and hashes, and sinks for queries.", -1, methods,
    NULL,                  NULL,      NULL,                                              NULL,
};

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL)
        return NULL;
    block_type = PyType_FromSpec(&block_spec);
    scan_type = PyType_FromSpec(&scan_spec);
    if (block_type == NULL || scan_type == NULL || PyModule_AddObjectRef(module, "Block", block_type) != 0 ||
        PyModule_AddObjectRef(module, "Scan", scan_type) != 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
