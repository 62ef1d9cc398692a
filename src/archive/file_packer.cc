#include "archive/file_packer.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "archive/local_file.h"
#include "archive/page.h"

namespace pgsteady::archive {
namespace {

constexpr std::size_t kQueuedFiles = 4096;
constexpr std::uint64_t kPartBytes = (1ull << 30) - 1;
constexpr std::size_t kPackReadBytes = 32 * kPageBytes;
constexpr std::size_t kBadPagesNamed = 1000;
constexpr int kLooks = 3;  // at a page that was torn by a write at the same moment

}  // namespace

// One thread's part, and the file that goes into it.
class FilePacker::Worker {
 public:
  explicit Worker(FilePacker& packer) : packer_(packer), buffer_(kPackReadBytes, '\0') {}

  Result<void> pack(const DataFile& file) {
    struct stat info {};
    const auto path = packer_.options_.data_dir + "/" + file.path;
    if (::stat(path.c_str(), &info) != 0) return {};  // dropped meanwhile
    if (!part_) {
      if (auto opened = open_part(); !opened) return opened;
    }
    TarMember member{file.path, TarMember::Kind::file, 0, info.st_mode & 0777u, info.st_mtim.tv_sec,
                     ""};
    if (file.directory) {
      member.kind = TarMember::Kind::directory;
      return part_->begin(member);
    }
    if (auto packed = pack_content(path, member); !packed) return packed;
    return part_->uncompressed_bytes() >= kPartBytes ? close_part() : Result<void>();
  }

  Result<void> close_part() {
    if (!part_) return {};
    auto sum = part_->finish();
    if (!sum) return tl::unexpected(sum.error());
    packer_.uncompressed_ += part_->uncompressed_bytes();
    part_.reset();
    std::lock_guard lock(packer_.mutex_);
    packer_.parts_[name_] = *sum;
    return {};
  }

 private:
  Result<void> open_part() {
    name_ = fmt::format("tar_partitions/part_{:03}.tar{}", ++packer_.part_count_,
                        extension(packer_.options_.method));
    auto part = PartWriter::create(packer_.store_, packer_.options_.folder + name_,
                                   packer_.options_.method);
    if (!part) return tl::unexpected(part.error());
    part_ = std::move(*part);
    return {};
  }

  // As many bytes as the file had when it was opened: what grows is in the WAL, what was cut off is
  // made up with zeros and cut off again by the WAL.
  Result<void> pack_content(const std::string& path, TarMember member) {
    auto file = LocalReader::open(path);
    if (!file) {
      const bool gone = file.error().kind == ErrorKind::not_found;
      return gone ? Result<void>() : tl::unexpected(file.error());
    }
    member.size_bytes = file->size_bytes();
    if (auto begun = part_->begin(member); !begun) return begun;
    const auto segment = relation_segment(member.name);
    const bool check = segment && packer_.options_.check_pages_from;
    for (std::uint64_t at = 0; at < member.size_bytes;) {
      const auto wanted = std::min<std::uint64_t>(buffer_.size(), member.size_bytes - at);
      if (auto filled = fill(*file, wanted); !filled) return filled;
      if (check) check_pages(*file, member.name, *segment, at, wanted);
      if (auto put = part_->data({buffer_.data(), wanted}); !put) return put;
      at += wanted;
    }
    return part_->end();
  }

  Result<void> fill(LocalReader& file, std::size_t wanted) {
    std::size_t have = 0;
    while (have < wanted) {
      auto count = file.read({buffer_.data() + have, wanted - have});
      if (!count) return tl::unexpected(count.error());
      if (*count == 0) break;
      have += *count;
    }
    std::fill(buffer_.begin() + static_cast<std::ptrdiff_t>(have),
              buffer_.begin() + static_cast<std::ptrdiff_t>(wanted), '\0');
    return {};
  }

  void check_pages(LocalReader& file, const std::string& name, std::uint32_t segment,
                   std::uint64_t at, std::size_t size) {
    for (std::size_t i = 0; i + kPageBytes <= size; i += kPageBytes) {
      const auto in_file = static_cast<std::uint32_t>((at + i) / kPageBytes);
      const auto block = segment * kBlocksPerSegment + in_file;
      for (int look = 1; is_bad(i, block); ++look) {
        if (look == kLooks) {
          note_bad(name, block);
          break;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        if (!file.read_at(at + i, {buffer_.data() + i, kPageBytes})) break;
      }
    }
  }

  bool is_bad(std::size_t at, std::uint32_t block) const {
    const std::string_view page(buffer_.data() + at, kPageBytes);
    return check_page(page, block, *packer_.options_.check_pages_from) == PageState::bad;
  }

  void note_bad(const std::string& name, std::uint32_t block) {
    std::lock_guard lock(packer_.mutex_);
    if (packer_.bad_pages_.size() >= kBadPagesNamed) return;
    packer_.bad_pages_.push_back(fmt::format("{} block {}", name, block));
  }

  FilePacker& packer_;
  std::string buffer_;
  std::string name_;
  std::unique_ptr<PartWriter> part_;
};

FilePacker::FilePacker(store::ObjectStore& store, PackOptions options)
    : store_(store), options_(std::move(options)) {
  for (int i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { work(); });
}

FilePacker::~FilePacker() {
  if (threads_.empty()) return;
  failed({ErrorKind::retry, "given up", ""});
  for (auto& thread : threads_) thread.join();
}

void FilePacker::failed(const Error& error) {
  std::lock_guard lock(mutex_);
  if (!error_) error_ = error;
  changed_.notify_all();
}

std::optional<DataFile> FilePacker::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return error_ || closed_ || !queue_.empty(); });
  if (error_ || queue_.empty()) return std::nullopt;
  auto file = std::move(queue_.front());
  queue_.pop_front();
  changed_.notify_all();
  return file;
}

void FilePacker::work() {
  Worker worker(*this);
  while (auto file = next()) {
    if (auto packed = worker.pack(*file); !packed) return failed(packed.error());
  }
  {
    std::lock_guard lock(mutex_);
    if (error_) return;
  }
  if (auto closed = worker.close_part(); !closed) failed(closed.error());
}

Result<void> FilePacker::add(DataFile file) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return error_ || queue_.size() < kQueuedFiles; });
  if (error_) return tl::unexpected(*error_);
  queue_.push_back(std::move(file));
  changed_.notify_all();
  return {};
}

Result<std::map<std::string, PartSum>> FilePacker::finish() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  if (error_) return tl::unexpected(*error_);
  return parts_;
}

std::vector<std::string> FilePacker::bad_pages() {
  std::lock_guard lock(mutex_);
  return bad_pages_;
}

}  // namespace pgsteady::archive
