// Matching on the CPU. A task is a run of blocks of 256 boxes; targets that do not meet a block's
// bounding box have IoU 0 with all of it and are skipped, which is most of the work when boxes come
// in grid order. For the low-quality rule the first pass keeps each target's greatest IoU per
// block, and the second looks again only into the blocks that hold the greatest of all.
#include "roiops/match_boxes.h"

#include <algorithm>

#include "internal/match_boxes_check.h"
#include "internal/match_boxes_formulas.h"
#include "internal/match_boxes_kernels.h"
#include "roiops/parallel.h"

namespace roiops {
namespace {

constexpr int64_t kBlocksPerTask = 8;

const MatchKernels<float>& kernels(float) { return pick_match_boxes_float(); }
const MatchKernels<double>& kernels(double) { return pick_match_boxes_double(); }

template <class T>
bool meets(const MatchExtent<T>& extent, const T* box) {
  return box[0] < extent.x2 && box[2] > extent.x1 && box[1] < extent.y2 && box[3] > extent.y1;
}

// One image: its targets side by side, and where its results go.
template <class T>
struct Image {
  std::vector<T> targets;
  int64_t count;
  int64_t* matched_idxs;
  int8_t* labels;
  T* ious;
  std::vector<T> block_best;  // (blocks, count) for the low-quality rule
  std::vector<T> best;        // (count)
};

template <class T>
class Matcher {
 public:
  // `images` share `boxes`.
  Matcher(const Array& boxes, std::vector<Image<T>>& images, const MatchArgs& args)
      : boxes_(boxes),
        images_(images),
        args_(args),
        blocks_((boxes.shape[0] + kMatchBlock - 1) / kMatchBlock) {}

  void run() {
    if (args_.allow_low_quality)
      for (Image<T>& image : images_) image.block_best.assign(blocks_ * image.count, T(0));
    each_block([&](int64_t b, MatchBlock<T>& block) {
      const MatchExtent<T> extent = load(block, b);
      for (Image<T>& image : images_) match(image, b, block, extent);
    });
    if (!args_.allow_low_quality) return;
    for (Image<T>& image : images_) {
      image.best.assign(image.count, T(0));
      for (int64_t b = 0; b < blocks_; ++b)
        for (int64_t g = 0; g < image.count; ++g)
          image.best[g] = std::max(image.best[g], image.block_best[b * image.count + g]);
    }
    each_block([&](int64_t b, MatchBlock<T>& block) {
      bool loaded = false;
      for (Image<T>& image : images_) {
        for (int64_t g = 0; g < image.count; ++g) {
          if (!(image.best[g] > 0 && image.block_best[b * image.count + g] == image.best[g]))
            continue;
          if (!loaded) load(block, b);
          loaded = true;
          promote(image, b, block, g);
        }
      }
    });
  }

 private:
  template <class Body>
  void each_block(const Body& body) {
    parallel_ranges(blocks_, kBlocksPerTask, args_.execution.threads,
                    [&](int64_t begin, int64_t end) {
                      MatchBlock<T> block;
                      for (int64_t b = begin; b < end; ++b) body(b, block);
                    });
  }
  MatchExtent<T> load(MatchBlock<T>& block, int64_t b) const {
    return kernels(T()).load(block, &boxes_.at<T>(b * kMatchBlock, 0), boxes_.stride[0],
                             boxes_.stride[1], rows(b));
  }

  int64_t rows(int64_t b) const {
    return std::min<int64_t>(kMatchBlock, boxes_.shape[0] - b * kMatchBlock);
  }

  void match(Image<T>& image, int64_t b, MatchBlock<T>& block, const MatchExtent<T>& extent) {
    std::fill_n(block.best, kMatchBlock, T(0));
    std::fill_n(block.index, kMatchBlock, 0);
    for (int64_t g = 0; g < image.count; ++g) {
      const T* target = &image.targets[4 * g];
      if (!meets(extent, target)) continue;
      const T best = kernels(T()).update(block, target, g);
      if (args_.allow_low_quality) image.block_best[b * image.count + g] = best;
    }
    const T high = static_cast<T>(args_.high), low = static_cast<T>(args_.low);
    const int64_t first = b * kMatchBlock, count = rows(b);
    std::copy_n(block.index, count, image.matched_idxs + first);
    std::copy_n(block.best, count, image.ious + first);
    int8_t* labels = image.labels + first;
    for (int64_t i = 0; i < count; ++i)
      labels[i] = match_label(block.best[i], high, low, image.count > 0);
  }

  // The boxes that tie for the greatest IoU of target `g` are positive.
  void promote(Image<T>& image, int64_t b, const MatchBlock<T>& block, int64_t g) {
    int8_t ties[kMatchBlock] = {};
    kernels(T()).find_ties(ties, block, &image.targets[4 * g], image.best[g]);
    for (int64_t i = 0; i < rows(b); ++i)
      if (ties[i]) image.labels[b * kMatchBlock + i] = 1;
  }

  const Array& boxes_;
  std::vector<Image<T>>& images_;
  const MatchArgs& args_;
  const int64_t blocks_;
};

template <class T>
Image<T> make_image(const Array& targets) {
  Image<T> image;
  image.count = targets.shape[0];
  for (int64_t g = 0; g < image.count; ++g)
    for (int c = 0; c < 4; ++c) image.targets.push_back(targets.at<T>(g, c));
  return image;
}

}  // namespace

void match_boxes(const Array& matched_idxs, const Array& labels, const Array& ious,
                 const MatchArgs& args) {
  if (check_match_boxes(matched_idxs, labels, ious, args) == 0) return;
  const bool shared = args.boxes.size() == 1;
  dispatch_float(ious.dtype, [&](auto zero) {
    using T = decltype(zero);
    std::vector<Image<T>> images;
    int64_t begin = 0;
    for (size_t i = 0; i < args.targets.size(); ++i) {
      const Array& boxes = args.boxes[shared ? 0 : i];
      images.push_back(make_image<T>(args.targets[i]));
      images.back().matched_idxs = matched_idxs.at<int64_t>() + begin;
      images.back().labels = labels.at<int8_t>() + begin;
      images.back().ious = ious.at<T>() + begin;
      begin += boxes.shape[0];
      if (shared) continue;
      Matcher<T>(boxes, images, args).run();
      images.clear();
    }
    if (shared) Matcher<T>(args.boxes[0], images, args).run();
  });
}

}  // namespace roiops
