/* What the parts of the extension share: librdkafka's functions, and the clients that it made. See README.md beside this file. */

#ifndef STREAMKIT_NATIVE_H
#define STREAMKIT_NATIVE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000 /* one binary for CPython 3.11 and later */
#include <Python.h>

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- librdkafka's public interface, as far as it is used -------------------------------------------------------------
 *
 * Declared here because wheels of confluent-kafka have the library but not its header. All of it is documented in rdkafka.h and has
 * not changed since librdkafka 1.0; `librdkafka_load` looks each function up by its name.
 */

typedef struct rd_kafka_s rd_kafka_t;
typedef struct rd_kafka_conf_s rd_kafka_conf_t;
typedef struct rd_kafka_topic_s rd_kafka_topic_t;
typedef struct rd_kafka_queue_s rd_kafka_queue_t;
typedef struct rd_kafka_headers_s rd_kafka_headers_t;
typedef int rd_kafka_err_t;

typedef struct {
    rd_kafka_err_t err;
    rd_kafka_topic_t *topic;
    int32_t partition;
    void *payload;
    size_t len;
    void *key;
    size_t key_len;
    int64_t offset;
    void *opaque;
} rd_kafka_message_t;

enum { ERR_NO_ERROR = 0, ERR_INVALID_ARG = -186, ERR_QUEUE_FULL = -184 };
enum { CONF_UNKNOWN = -2, CONF_OK = 0 };
enum { F_COPY = 2 };
enum { V_END, V_TOPIC, V_RKT, V_PARTITION, V_VALUE, V_KEY, V_OPAQUE, V_MSGFLAGS, V_TIMESTAMP, V_HEADER, V_HEADERS };

typedef rd_kafka_err_t (*on_new_t)(rd_kafka_t *, const rd_kafka_conf_t *, void *, char *, size_t);
typedef rd_kafka_err_t (*on_destroy_t)(rd_kafka_t *, void *);
typedef rd_kafka_err_t (*on_acknowledgement_t)(rd_kafka_t *, rd_kafka_message_t *, void *);
typedef int (*on_conf_set_t)(rd_kafka_conf_t *, const char *, const char *, char *, size_t, void *);
typedef rd_kafka_err_t (*on_conf_destroy_t)(void *);

#define LIBRDKAFKA_FUNCTIONS(F)                                                                                                      \
    F(int, version, (void))                                                                                                          \
    F(const char *, err2str, (rd_kafka_err_t))                                                                                       \
    F(rd_kafka_err_t, conf_interceptor_add_on_new, (rd_kafka_conf_t *, const char *, on_new_t, void *))                              \
    F(rd_kafka_err_t, conf_interceptor_add_on_conf_set, (rd_kafka_conf_t *, const char *, on_conf_set_t, void *))                    \
    F(rd_kafka_err_t, conf_interceptor_add_on_conf_destroy, (rd_kafka_conf_t *, const char *, on_conf_destroy_t, void *))            \
    F(rd_kafka_err_t, interceptor_add_on_destroy, (rd_kafka_t *, const char *, on_destroy_t, void *))                                \
    F(rd_kafka_err_t, interceptor_add_on_acknowledgement, (rd_kafka_t *, const char *, on_acknowledgement_t, void *))                \
    F(rd_kafka_queue_t *, queue_new, (rd_kafka_t *))                                                                                 \
    F(void, queue_destroy, (rd_kafka_queue_t *))                                                                                     \
    F(rd_kafka_queue_t *, queue_get_partition, (rd_kafka_t *, const char *, int32_t))                                                \
    F(void, queue_forward, (rd_kafka_queue_t *, rd_kafka_queue_t *))                                                                 \
    F(ssize_t, consume_batch_queue, (rd_kafka_queue_t *, int, rd_kafka_message_t **, size_t))                                        \
    F(void, message_destroy, (rd_kafka_message_t *))                                                                                 \
    F(int64_t, message_timestamp, (const rd_kafka_message_t *, int *))                                                               \
    F(int32_t, message_leader_epoch, (const rd_kafka_message_t *))                                                                   \
    F(rd_kafka_err_t, message_headers, (const rd_kafka_message_t *, rd_kafka_headers_t **))                                          \
    F(rd_kafka_err_t, header_get_all,                                                                                                \
      (const rd_kafka_headers_t *, size_t, const char **, const void **, size_t *))                                                  \
    F(const char *, topic_name, (const rd_kafka_topic_t *))                                                                          \
    F(rd_kafka_topic_t *, topic_new, (rd_kafka_t *, const char *, void *))                                                           \
    F(void, topic_destroy, (rd_kafka_topic_t *))                                                                                     \
    F(rd_kafka_err_t, last_error, (void))                                                                                            \
    F(rd_kafka_err_t, producev, (rd_kafka_t *, ...))                                                                                 \
    F(rd_kafka_headers_t *, headers_new, (size_t))                                                                                   \
    F(void, headers_destroy, (rd_kafka_headers_t *))                                                                                 \
    F(rd_kafka_err_t, header_add, (rd_kafka_headers_t *, const char *, ssize_t, const void *, ssize_t))

typedef struct {
#define MEMBER(result, name, arguments) result(*name) arguments;
    LIBRDKAFKA_FUNCTIONS(MEMBER)
#undef MEMBER
} Librdkafka;

extern Librdkafka librdkafka;

/* ---- clients ---------------------------------------------------------------------------------------------------------*/

/* All failed deliveries with one error: how many, how many of them without a key, and the first one. */
typedef struct Failure {
    struct Failure *next;
    rd_kafka_err_t err;
    int64_t count;
    int64_t null_keys;
    int32_t partition;
    char *topic;
    char *key; /* NULL: none */
    size_t key_len;
} Failure;

/* Messages of a run, kept for their headers. Destroyed with the object of Python over them, and before the client is. */
typedef struct Kept {
    PyObject_HEAD
    struct Client *client; /* NULL: the messages are gone */
    struct Kept *next, **link;
    rd_kafka_message_t **messages;
    Py_ssize_t count;
} Kept;

/* A client of librdkafka that was configured with our plugin. `rk` is NULL before it is made and after it is destroyed.
 * Kept until both the client and the object of Python over it are gone. */
typedef struct Client {
    struct Client *next;
    int64_t number;
    int references;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;  /* of a consumer: where the partitions that were taken deliver */
    Kept *kept;               /* of a consumer: messages that are still needed */
    rd_kafka_topic_t **topics; /* of a producer: those it has written to */
    size_t topic_count;
    pthread_mutex_t lock; /* acknowledgements and `on_destroy` come on librdkafka's threads */
    Failure *failures; /* in the order in which they came */
} Client;

/* The client with that number, with one more reference; NULL with an exception if there is none. */
Client *client_find(int64_t number);
void client_keep(Client *client);
void client_release(Client *client);
/* What is held of librdkafka. It must go before the client does: `rd_kafka_destroy` waits for it. */
void client_let_go(Client *client);
/* The next kind of failed deliveries, taken out; NULL if there is none. */
Failure *client_failure(Client *client);
void failure_free(Failure *failure);
extern _Thread_local int producing; /* this thread is inside `producev` */

extern PyType_Spec kept_spec;
extern PyType_Spec reader_spec;
extern PyType_Spec sender_spec;
/* The object that keeps `count` messages from now on; NULL with an exception, and they are still the caller's. */
PyObject *kept_new(PyObject *type, Client *client, rd_kafka_message_t **messages, Py_ssize_t count);
/* Takes the messages out of the client's list: who calls destroys them. NULL if they are gone. */
rd_kafka_message_t **kept_take(Kept *kept);
void messages_destroy(rd_kafka_message_t **messages, Py_ssize_t count);
PyObject *reader_split(PyObject *module, PyObject *arguments);

#endif
