/* queue: the work that the device has been given, done in an order that exposes what the program forgot.
 *
 * An operation waits for those it was queued behind. Kernels run as late as they may: when somebody waits for them. A
 * copy begins as soon as it may and ends as late as it may; before it ends, all that is not ordered with it is done
 * (CUDASIM_SCHEDULE=overlap, the default), or nothing is (late: what is not ordered with a copy then comes after it). So
 * is a meeting of several processes, a collective, done. A program whose order is complete gives the same results under both. */
#include <algorithm>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unordered_set>

#include "internal.h"

namespace
{

std::vector<cudasim_ref> &pending = *new std::vector<cudasim_ref>; /* as queued; those done are taken out at times */
std::vector<cudasim_op *> &held = *new std::vector<cudasim_op *>;  /* copies and meetings, kept in flight for others */
int depth;                                                         /* of finish(): then `pending` keeps its places */

bool overlaps()
{
    const char *schedule = getenv("CUDASIM_SCHEDULE");
    if (!schedule || !strcmp(schedule, "overlap")) return true;
    if (strcmp(schedule, "late")) cudasim_fault("CUDASIM_SCHEDULE is \"%s\": overlap or late", schedule);
    return false;
}

void done(cudasim_op *op);

/* Nothing is left that `op` has to wait for. */
void free_to_go(cudasim_op *op)
{
    if (op->task->kind == CUDASIM_COPY || op->task->kind == CUDASIM_MEETING) {
        cudasim_copy_begin(op);
        op->state = cudasim_op::FLYING;
    } else if (op->task->kind == CUDASIM_MARK) {
        done(op);
    }
}

void done(cudasim_op *op)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    op->state = cudasim_op::DONE;
    op->seconds = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    std::vector<cudasim_op *> after;
    after.swap(op->after);
    op->deps.clear();
    op->data = std::vector<char>();
    for (cudasim_op *next : after)
        if (!--next->waits) free_to_go(next);
}

/* All that waits for a copy in `held`, and these. */
std::unordered_set<cudasim_op *> behind_held()
{
    std::unordered_set<cudasim_op *> behind(held.begin(), held.end());
    std::vector<cudasim_op *> todo(held);
    while (!todo.empty()) {
        cudasim_op *op = todo.back();
        todo.pop_back();
        for (cudasim_op *next : op->after)
            if (behind.insert(next).second) todo.push_back(next);
    }
    return behind;
}

/* Does one operation, for which all it waits for is done. */
void finish(cudasim_op *op)
{
    const cudasim_task &task = *op->task;
    if (op->state == cudasim_op::DONE) return;
    if (op->waits) cudasim_fault("%s is to be done before what it waits for", cudasim_name(task).c_str());
    if (task.kind == CUDASIM_COPY || task.kind == CUDASIM_MEETING) {
        if (overlaps()) {
            held.push_back(op);
            std::unordered_set<cudasim_op *> behind = behind_held();
            for (size_t i = 0; i < pending.size(); i++)
                if (!behind.count(pending[i].get())) finish(pending[i].get());
            held.pop_back();
        }
        cudasim_copy_end(op);
    } else if (task.kind == CUDASIM_KERNEL) {
        cudasim_run_grid(task);
    } else if (task.kind == CUDASIM_WORK) {
        task.run();
    }
    done(op);
}

bool computes(const cudasim_ref &op)
{
    return op->task->kind != CUDASIM_COPY && op->task->kind != CUDASIM_MARK;
}

void tidy()
{
    if (depth) return;
    pending.erase(std::remove_if(pending.begin(), pending.end(),
                                 [](const cudasim_ref &op) { return op->state == cudasim_op::DONE; }),
                  pending.end());
}

} // namespace

cudasim_ref cudasim_submit(std::shared_ptr<const cudasim_task> task, const std::vector<cudasim_ref> &deps,
                           std::vector<char> *staged)
{
    cudasim_ref op = std::make_shared<cudasim_op>();
    op->task = std::move(task);
    if (staged) {
        op->data.swap(*staged);
        op->staged = true;
    }
    for (const cudasim_ref &dep : deps) {
        if (!dep || dep->state == cudasim_op::DONE) continue;
        if (std::find(op->deps.begin(), op->deps.end(), dep) != op->deps.end()) continue;
        op->deps.push_back(dep);
        dep->after.push_back(op.get());
        op->waits++;
    }
    pending.push_back(op);
    if (!op->waits) free_to_go(op.get());
    if (pending.back()->state == cudasim_op::DONE && !depth) pending.pop_back();
    return op;
}

void cudasim_finish(const std::vector<cudasim_ref> &ops)
{
    std::unordered_set<cudasim_op *> wanted;
    std::vector<cudasim_op *> todo;
    for (const cudasim_ref &op : ops)
        if (op && op->state != cudasim_op::DONE && wanted.insert(op.get()).second) todo.push_back(op.get());
    if (todo.empty()) return;
    while (!todo.empty()) {
        cudasim_op *op = todo.back();
        todo.pop_back();
        for (const cudasim_ref &dep : op->deps)
            if (dep->state != cudasim_op::DONE && wanted.insert(dep.get()).second) todo.push_back(dep.get());
    }
    /* Copies open what they touch by themselves, and that is cheaper than all. */
    std::unique_ptr<cudasim_access> all;
    if (std::any_of(pending.begin(), pending.end(), computes)) all.reset(new cudasim_access);
    depth++;
    for (size_t i = 0; i < pending.size(); i++)
        if (wanted.count(pending[i].get())) finish(pending[i].get());
    depth--;
    tidy();
}

void cudasim_finish_all()
{
    std::vector<cudasim_ref> all(pending);
    cudasim_finish(all);
}

bool cudasim_is_queued(const void *owner)
{
    return std::any_of(pending.begin(), pending.end(), [owner](const cudasim_ref &op) {
        return op->state != cudasim_op::DONE && op->task->owner == owner;
    });
}
